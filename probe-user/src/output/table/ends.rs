//! How TIME_WAITs ended, by the process that created them.

use twtrace_core::event::quantity;
use twtrace_core::model::report::{ProcessRow, Report};
use twtrace_wire::EndCause;

use super::grid::{Align, Grid, text};
use super::processes::name;
use super::{SHOWN, count};

/// The table, or nothing if none ended.
pub fn render(report: &Report, page_width: Option<usize>) -> String {
    text(&grid(report), page_width)
}

/// The table.
pub fn grid(report: &Report) -> Grid<9> {
    let mut rows: Vec<&ProcessRow> = report
        .processes
        .iter()
        .filter(|row| row.counts.ended.total() > 0)
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.counts.ended.total()));
    let at_least = !report.exact.processes;
    let mut grid = Grid::new(&[
        ("CREATED BY", Align::Cut),
        ("EXPIRED", Align::Right),
        ("REUSED", Align::Right),
        ("REOPENED", Align::Right),
        ("KILLED", Align::Right),
        ("PURGED", Align::Right),
        ("AGE P50", Align::Right),
        ("P99", Align::Right),
        ("MAX", Align::Right),
    ]);
    for row in rows.iter().take(SHOWN) {
        let ended = |cause| count(row.counts.ended.of(cause), at_least);
        let age = |age_ns: Option<u64>| age_ns.map_or_else(String::new, quantity::duration);
        let residence = row.residence;
        grid.row([
            name(row),
            ended(EndCause::Expired),
            ended(EndCause::ReusedByConnect),
            ended(EndCause::ReopenedBySyn),
            ended(EndCause::Killed),
            ended(EndCause::Purged),
            age(residence.map(|ages| ages.p50_ns)),
            age(residence.map(|ages| ages.p99_ns)),
            age(residence.map(|ages| ages.max_ns)),
        ]);
    }
    grid
}
