//! TIME_WAITs that connects reused, and those that they could not reuse.

use twtrace_core::model::report::Report;
use twtrace_core::model::reuse::Reuse;

use super::grid::{Align, Grid, text};
use super::processes::name;
use super::{SHOWN, count, more, reasons};

/// By process; empty if no connect() found a TIME_WAIT.
pub fn by_process(report: &Report, page_width: Option<usize>) -> String {
    text(&grid_by_process(report), page_width)
}

/// The table by process.
pub fn grid_by_process(report: &Report) -> Grid<4> {
    let rows = report
        .processes
        .iter()
        .filter(|row| !row.reuse.is_empty())
        .map(|row| (name(row), &row.reuse));
    table("PROCESS", rows.collect(), report, !report.exact.processes)
}

/// By destination; empty if no connect() found a TIME_WAIT.
pub fn by_destination(report: &Report, page_width: Option<usize>) -> String {
    text(&grid_by_destination(report), page_width)
}

/// The table by destination.
pub fn grid_by_destination(report: &Report) -> Grid<4> {
    let rows = report
        .destinations
        .iter()
        .filter(|row| !row.reuse.is_empty())
        .map(|row| (row.destination.to_string(), &*row.reuse));
    table(
        "DESTINATION",
        rows.collect(),
        report,
        !report.exact.destinations,
    )
}

/// Rows with the most TIME_WAITs that could not be reused first.
fn table(
    of: &'static str,
    mut rows: Vec<(String, &Reuse)>,
    report: &Report,
    at_least: bool,
) -> Grid<4> {
    rows.sort_by_key(|(_, reuse)| {
        std::cmp::Reverse((reuse.refused.total(), reuse.hindered, reuse.taken))
    });
    let mut grid = Grid::new(&[
        (of, Align::Cut),
        ("REUSED", Align::Right),
        ("CONNECTS REFUSED REUSE", Align::Right),
        ("WHY", Align::Tail),
    ]);
    let cells = |name: String, reuse: &Reuse| {
        if report.exact.refused_reuse {
            [
                name,
                count(reuse.taken, at_least),
                count(reuse.hindered, at_least),
                reasons(&reuse.refused, at_least),
            ]
        } else {
            [
                name,
                count(reuse.taken, at_least),
                "?".to_owned(),
                "?".to_owned(),
            ]
        }
    };
    let shown = rows.len().min(SHOWN);
    for (name, reuse) in &rows[..shown] {
        grid.row(cells(name.clone(), reuse));
    }
    let others = &rows[shown..];
    if !others.is_empty() {
        let mut sum = Reuse::default();
        for (_, reuse) in others {
            sum.add_all(reuse);
        }
        grid.row(cells(more(others.len()), &sum));
    }
    grid
}
