//! What is missing.

use super::grid::{Align, Grid};
use crate::model::report::Report;

/// What is to be said where [`Report::recursion_misses`] is `None`.
pub const NOT_COUNTED: &str =
    "this kernel does not count skipped runs of programs (recursion_misses)";

/// Losses by probe, and runs of our programs that the kernel skipped; a sentence where nothing was lost.
pub fn render(report: &Report) -> String {
    let grid = grid(report);
    let mut text = match grid.is_empty() {
        true => "nothing\n".to_owned(),
        false => grid.to_string(),
    };
    if report.recursion_misses.is_none() {
        text.push_str(NOT_COUNTED);
        text.push('\n');
    }
    text
}

/// The table.
pub fn grid(report: &Report) -> Grid<3> {
    let mut grid = Grid::new(&[
        ("PROBE", Align::Left),
        ("COUNT", Align::Right),
        ("", Align::Left),
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
            grid.row([
                row.program.clone(),
                row.count.to_string(),
                "runs of this program that the kernel skipped (recursion_misses)".to_owned(),
            ]);
        }
    }
    grid
}
