//! Connections that the peer has closed and the process has not.

use twtrace_core::event::answerable::Answerable;
use twtrace_core::event::quantity::duration;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::close_wait::CloseWaitRow;
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};
use super::names::short;
use super::{SHOWN, count, more};
use crate::output::lines::process_name;

/// The table; empty if there are none.
pub fn render(report: &Report, page_width: Option<usize>) -> String {
    text(&grid(report), page_width)
}

/// The table.
pub fn grid(report: &Report) -> Grid<7> {
    let rows = &report.close_wait;
    let mut grid = Grid::new(&[
        ("PROCESS", Align::Cut),
        ("ROLE", Align::Left),
        ("PEER/PORT", Align::Cut),
        ("NETNS", Align::Cut),
        ("COUNT", Align::Right),
        ("SHARED", Align::Right),
        ("OLDEST", Align::Right),
    ]);
    let shown = rows.len().min(SHOWN);
    for row in &rows[..shown] {
        grid.row([
            name(row),
            row.side.word().to_owned(),
            row.destination.to_string(),
            short(report, row.netns, report.last_nth(row.netns)),
            count(row.count, false),
            count(row.shared, false),
            oldest(row.oldest_ns, row.oldest_at_most_ns),
        ]);
    }
    let others = &rows[shown..];
    if !others.is_empty() {
        let sum = |of: fn(&CloseWaitRow) -> u64| count(others.iter().map(of).sum(), false);
        let empty = String::new;
        grid.row([
            more(others.len()),
            empty(),
            empty(),
            empty(),
            sum(|row| row.count),
            sum(|row| row.shared),
            oldest(
                others.iter().filter_map(|row| row.oldest_ns).max(),
                others.iter().filter_map(|row| row.oldest_at_most_ns).max(),
            ),
        ]);
    }
    grid
}

/// Namespaces that could not be scanned, and why.
pub fn unscanned(report: &Report, page_width: Option<usize>) -> String {
    text(&unscanned_grid(report), page_width)
}

/// The table of those namespaces.
pub fn unscanned_grid(report: &Report) -> Grid<2> {
    let mut grid = Grid::new(&[("NETNS", Align::Cut), ("", Align::Tail)]);
    for row in &report.unscanned {
        grid.row([
            short(report, row.netns, report.last_nth(row.netns)),
            escape(&row.why),
        ]);
    }
    grid
}

fn name(row: &CloseWaitRow) -> String {
    match row.answerable() {
        Answerable::Process(process) => process_name(process),
        Answerable::Nobody(reason) => format!("({})", reason.word()),
        Answerable::Unknown => "-".to_owned(),
    }
}

/// Such as `12.0s`, or `≥12.0s ≤3m10s` if the bounds differ.
fn oldest(at_least_ns: Option<u64>, at_most_ns: Option<u64>) -> String {
    match (at_least_ns, at_most_ns) {
        (Some(at_least), Some(at_most)) if duration(at_least) == duration(at_most) => {
            duration(at_least)
        }
        (Some(at_least), Some(at_most)) => {
            format!("≥{} ≤{}", duration(at_least), duration(at_most))
        }
        _ => "-".to_owned(),
    }
}
