//! The audit: both figures and their difference, by network namespace.

use std::fmt::Write;

use super::grid::{Align, Grid, text};
use super::names::shown_netns;
use crate::model::report::Report;

fn signed(difference: Option<i64>) -> String {
    match difference {
        Some(0) => "0".to_owned(),
        Some(difference) => format!("{difference:+}"),
        None => "-".to_owned(),
    }
}

/// The table, and what it leaves out.
pub fn render(report: &Report) -> String {
    let mut text = text(&grid(report));
    if let Some(why) = why_no_resets(report) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "RSTs sent can't be compared: {why}");
    }
    let quiet = report.audit.iter().filter(|row| row.is_quiet()).count();
    if quiet > 0 {
        let _ = writeln!(
            text,
            "{quiet} more namespace{} without any",
            if quiet == 1 { "" } else { "s" }
        );
    }
    text
}

/// Why RSTs are not compared, where they are not: the same in all namespaces.
pub fn why_no_resets(report: &Report) -> Option<&str> {
    let mut rows = report.audit.iter().filter(|row| !row.is_quiet());
    rows.find_map(|row| row.resets_sent_why.as_deref())
}

/// The table.
pub fn grid(report: &Report) -> Grid<16> {
    let mut grid = Grid::new(&[
        ("NETNS", Align::Right),
        ("SEEN", Align::Right),
        ("KERNEL", Align::Right),
        ("DIFFERENCE", Align::Right),
        ("OVERFLOW SEEN", Align::Right),
        ("KERNEL", Align::Right),
        ("DIFFERENCE", Align::Right),
        ("RSTS SENT SEEN", Align::Right),
        ("KERNEL", Align::Right),
        ("DIFFERENCE", Align::Right),
        ("INFERRED", Align::Right),
        ("ENDED", Align::Right),
        ("ALIVE OFF BY", Align::Right),
        ("REUSED SEEN", Align::Right),
        ("KERNEL", Align::Right),
        ("", Align::Left),
    ]);
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    for row in report.audit.iter().filter(|row| !row.is_quiet()) {
        let remark = match (&row.why, row.audited) {
            (None, true) => String::new(),
            (None, false) => "not audited".to_owned(),
            (Some(why), true) => why.clone(),
            (Some(why), false) => format!("not audited: {why}"),
        };
        grid.row([
            shown_netns(row.netns, row.netns_nth),
            row.births_seen.to_string(),
            number(row.births_kernel),
            signed(row.difference),
            row.overflow_seen.to_string(),
            number(row.overflow_kernel),
            signed(row.overflow_difference),
            number(row.resets_sent_seen),
            number(row.resets_sent_kernel),
            signed(row.resets_sent_difference),
            row.inferred.to_string(),
            number(row.ends_seen),
            signed(row.alive_difference),
            number(row.reused_seen),
            number(row.reused_kernel),
            remark,
        ]);
    }
    grid
}
