//! What is missing.

use super::grid::{Align, Grid};
use crate::model::report::Report;

/// Losses by probe, and runs of our programs that the kernel skipped; a sentence where nothing was lost.
pub fn render(report: &Report) -> String {
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
    let mut text = match grid.is_empty() {
        true => "nothing\n".to_owned(),
        false => grid.to_string(),
    };
    if report.recursion_misses.is_none() {
        text.push_str("this kernel does not count skipped runs of programs (recursion_misses)\n");
    }
    text
}
