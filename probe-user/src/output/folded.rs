//! Folded stacks, as flamegraph.pl and inferno read them: `comm(pid);outermost;…;innermost;what COUNT`.

use std::fmt::Write;

use twtrace_core::event::answerable::Answerable;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::stacks::{Frame, StackRow};

/// One line per row.
pub fn render(rows: &[StackRow]) -> String {
    let mut text = String::new();
    for row in rows {
        let process = match row.answerable() {
            Answerable::Process(process) => {
                format!("{}({})", process.comm.text(), process.key.tgid)
            }
            Answerable::Nobody(why) => format!("({})", why.word()),
            Answerable::Unknown => "-".to_owned(),
        };
        text.push_str(&part(&process));
        if let Some(why) = row.why {
            text.push(';');
            text.push_str(&part(why.text()));
        }
        for frame in row.frames.iter().rev() {
            text.push(';');
            text.push_str(&part(&name(frame)));
        }
        // Writing to a String does not fail.
        let _ = writeln!(text, ";{} {}", row.what.word(), row.count);
    }
    text
}

fn name(frame: &Frame) -> String {
    match (&frame.symbol, &frame.module) {
        (Some(symbol), _) => symbol.clone(),
        (None, Some(module)) => format!("{module}+0x{:x}", frame.offset.unwrap_or_default()),
        (None, None) => format!("0x{:x}", frame.address),
    }
}

/// Replaces semicolons, which separate frames, and ends of lines, which separate stacks, in names.
fn part(name: &str) -> String {
    escape(name).replace(';', ":")
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::samples;
    use twtrace_core::model::stacks::{FoundBy, Missing};
    use twtrace_wire::StackWhat;

    use super::*;

    fn frame(symbol: &str) -> Frame {
        Frame {
            symbol: Some(symbol.to_owned()),
            module: None,
            offset: None,
            file: None,
            line: None,
            address: 1,
            found_by: FoundBy::FramePointer,
        }
    }

    #[test]
    fn outermost_comes_first_and_hostile_names_stay_one_frame() {
        let mut row = StackRow {
            process: Some(samples::process(7, "a;b\n")),
            unattributed: None,
            what: StackWhat::TimeWait,
            count: 3,
            frames: vec![frame("close"), frame("f;g 9\nx 1"), frame("main")],
            why: None,
        };
        let plain = render(std::slice::from_ref(&row));
        assert_eq!(plain, "a:b\\x0a(7);main;f:g 9\\x0ax 1;close;time_wait 3\n");
        row.frames.clear();
        row.why = Some(Missing::Exit);
        assert_eq!(render(&[row]), "a:b\\x0a(7);(exit);time_wait 3\n");
    }
}
