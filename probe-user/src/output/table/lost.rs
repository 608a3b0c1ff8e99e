//! Losses.

use twtrace_core::event::text::escape;
use twtrace_core::model::exactness::Inexact;
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};

/// The text for [`Report::recursion_misses`], if that is `None`.
pub fn why_no_misses(report: &Report) -> Option<&'static str> {
    match (&report.recursion_misses, report.has_totals) {
        (Some(_), _) => None,
        (None, true) => {
            Some("this kernel does not count skipped runs of programs (recursion_misses)")
        }
        (None, false) => Some(
            "skipped runs of programs (recursion_misses) are known at the end of a whole recording only",
        ),
    }
}

/// Losses by probe, and runs of our programs that the kernel skipped; empty if nothing was lost.
pub fn render(report: &Report, page_width: Option<usize>) -> String {
    let mut text = text(&grid(report), page_width);
    if let Some(why) = why_no_misses(report) {
        text.push_str(why);
        text.push('\n');
    }
    text
}

/// The table.
pub fn grid(report: &Report) -> Grid<3> {
    let mut grid = Grid::new(&[
        ("PROBE", Align::Cut),
        ("COUNT", Align::Right),
        ("", Align::Tail),
    ]);
    for row in report.lost.iter().filter(|row| row.count > 0) {
        grid.row([
            row.probe.word().to_owned(),
            row.count.to_string(),
            row.probe.consequence().to_owned(),
        ]);
    }
    for row in report.recursion_misses.iter().flatten() {
        if row.count > 0 {
            let is_missing = |reason: &&Inexact| reason.by == row.program;
            let missing = report.inexact.iter().find(is_missing);
            let missing = missing.map_or_else(String::new, |reason| {
                format!(": up to {} events are missing", reason.count)
            });
            grid.row([
                escape(&row.program),
                row.count.to_string(),
                format!("runs of this program that the kernel skipped (recursion_misses){missing}"),
            ]);
        }
    }
    grid
}
