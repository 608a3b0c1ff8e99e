//! User stacks.

use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::report::Report;
use twtrace_core::model::stacks::{FoundBy, Frame, StackRow};

use super::SHOWN;
use super::grid::{Align, Grid};
use super::processes::name_of;

/// Maximum number of frames in a row.
const FRAMES: usize = 12;
/// Maximum number of characters of a symbol: names of templates can be very long.
const SYMBOL: usize = 100;

/// One block per row; empty if stacks were not requested.
pub fn render(report: &Report, page_width: Option<usize>) -> String {
    let Some(rows) = &report.stacks else {
        return String::new();
    };
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let mut grid = Grid::new(&[
        ("COUNT", Align::Right),
        ("WHAT", Align::Left),
        ("PROCESS", Align::Cut),
        ("STACK", Align::Cut),
    ]);
    let shown = rows.len().min(SHOWN);
    for row in &rows[..shown] {
        let mut lines = lines(row).into_iter();
        grid.row([
            row.count.to_string(),
            row.what.word().to_owned(),
            name_of(row.answerable()),
            lines.next().unwrap_or_default(),
        ]);
        for line in lines {
            grid.row([String::new(), String::new(), String::new(), line]);
        }
    }
    let others = &rows[shown..];
    if !others.is_empty() {
        let sum: u64 = others.iter().map(|row| row.count).sum();
        grid.row([
            sum.to_string(),
            "-".to_owned(),
            format!("({} others)", others.len()),
            String::new(),
        ]);
    }
    grid.fitted(page_width)
}

fn lines(row: &StackRow) -> Vec<String> {
    let mut lines: Vec<String> = row.frames.iter().take(FRAMES).map(frame).collect();
    if row.frames.len() > FRAMES {
        lines.push(format!("({} more)", row.frames.len() - FRAMES));
    }
    lines.extend(row.why.map(|why| why.text().to_owned()));
    lines
}

/// Such as `close_all+0x1c (/usr/bin/client) client.c:12`; without a name `/usr/bin/client+0x119c`, the offset in the
/// file, which is the same in each process.
fn frame(frame: &Frame) -> String {
    let mut text = match (&frame.symbol, &frame.module, frame.offset) {
        (Some(symbol), ..) => {
            let mut name: String = symbol.chars().take(SYMBOL).collect();
            if name.len() < symbol.len() {
                name.push('…');
            }
            escape(&name)
        }
        (None, Some(module), Some(offset)) => format!("{}+0x{offset:x}", escape(module)),
        (None, ..) => format!("0x{:x}", frame.address),
    };
    if let Some(offset) = frame.offset
        && frame.symbol.is_some()
    {
        text.push_str(&format!("+0x{offset:x}"));
    }
    if frame.found_by == FoundBy::Scan {
        text.push_str(" [likely]");
    }
    if let Some(module) = &frame.module
        && (frame.symbol.is_some() || frame.offset.is_none())
    {
        text.push_str(&format!(" ({})", escape(module)));
    }
    if let Some(file) = &frame.file {
        text.push_str(&format!(" {}", escape(file)));
        if let Some(line) = frame.line {
            text.push_str(&format!(":{line}"));
        }
    }
    text
}
