//! Folded stacks, as flamegraph.pl and inferno read them: `command;outermost;…;innermost;what COUNT`.

use std::collections::BTreeMap;
use std::fmt::Write;

use twtrace_core::event::answerable::Answerable;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::groups::GroupBy;
use twtrace_core::model::stacks::{Frame, StackRow};

use super::table::Grouping;
use super::table::groups::label;

/// One line for each stack of a command, sorted. A grouping by unit, container or pod adds a frame outside of the
/// command's, one by process tells its processes apart.
pub fn render(rows: &[StackRow], by: &[Grouping]) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        let count = counts.entry(stack(row, by)).or_default();
        // A recording may contain any number.
        *count = count.saturating_add(row.count);
    }
    let mut text = String::new();
    for (stack, count) in counts {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{stack} {count}");
    }
    text
}

/// The frames of a row, outermost first.
fn stack(row: &StackRow, by: &[Grouping]) -> String {
    let places = [
        (Grouping::Unit, GroupBy::Unit),
        (Grouping::Container, GroupBy::Container),
        (Grouping::Pod, GroupBy::Pod),
    ];
    let mut all: Vec<String> = places
        .into_iter()
        .filter(|(grouping, _)| by.contains(grouping))
        .map(|(_, by)| one_frame(&label(&by.label(row.answerable()), by)))
        .collect();
    all.push(match row.answerable() {
        Answerable::Process(process) if by.contains(&Grouping::Process) => {
            part(&format!("{}({})", process.comm.text(), process.key.tgid))
        }
        Answerable::Process(process) => part(&process.comm.text()),
        Answerable::Nobody(why) => format!("({})", why.word()),
        Answerable::Unknown => "-".to_owned(),
    });
    all.extend(frames(row));
    all.push(row.what.word().to_owned());
    all.join(";")
}

/// What is missing, then the functions, outermost first.
pub fn frames(row: &StackRow) -> Vec<String> {
    let missing = row.why.map(|why| part(why.text()));
    let functions = row.frames.iter().rev().map(|frame| part(&name(frame)));
    missing.into_iter().chain(functions).collect()
}

fn name(frame: &Frame) -> String {
    match (&frame.symbol, &frame.module) {
        (Some(symbol), _) => symbol.clone(),
        (None, Some(module)) => format!("{module}+0x{:x}", frame.offset.unwrap_or_default()),
        (None, None) => format!("0x{:x}", frame.address),
    }
}

/// Makes a name one frame of one line.
fn part(name: &str) -> String {
    one_frame(&escape(name))
}

/// Replaces semicolons, which separate frames.
fn one_frame(escaped: &str) -> String {
    escaped.replace(';', ":")
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
        let plain = render(std::slice::from_ref(&row), &[]);
        assert_eq!(plain, "a:b\\x0a;main;f:g 9\\x0ax 1;close;time_wait 3\n");
        row.frames.clear();
        row.why = Some(Missing::Exit);
        assert_eq!(render(&[row], &[]), "a:b\\x0a;(exit);time_wait 3\n");
    }

    #[test]
    fn processes_of_one_command_are_one_flame_unless_told_apart() {
        let row = |tgid| StackRow {
            process: Some(samples::process(tgid, "curl")),
            unattributed: None,
            what: StackWhat::TimeWait,
            count: 2,
            frames: vec![frame("close"), frame("main")],
            why: None,
        };
        let rows = [row(7), row(8)];
        assert_eq!(render(&rows, &[]), "curl;main;close;time_wait 4\n");
        assert_eq!(
            render(&rows, &[Grouping::Unit, Grouping::Process]),
            "(no unit);curl(7);main;close;time_wait 2\n(no unit);curl(8);main;close;time_wait 2\n"
        );
    }
}
