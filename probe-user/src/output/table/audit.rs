//! The audit: a line for each figure of a network namespace, as seen and as counted by the kernel.

use std::fmt::Write;

use twtrace_core::event::quantity;
use twtrace_core::event::text::escape;
use twtrace_core::model::audit::AuditRow;
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};
use super::names::short;

/// The table, and what it leaves out.
pub fn render(report: &Report, page_width: Option<usize>) -> String {
    let mut text = text(&grid(report), page_width);
    let quiet = report.audit.iter().filter(|row| row.is_quiet()).count();
    if quiet > 0 {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{quiet} more network namespace{} without TIME_WAIT sockets, RSTs or failures",
            if quiet == 1 { "" } else { "s" }
        );
    }
    text
}

/// The table.
pub fn grid(report: &Report) -> Grid<6> {
    let mut grid = Grid::new(&[
        ("NETNS", Align::Cut),
        ("COUNTED", Align::Left),
        ("SEEN", Align::Right),
        ("KERNEL", Align::Right),
        ("DIFFERENCE", Align::Right),
        ("", Align::Tail),
    ]);
    for row in report.audit.iter().filter(|row| !row.is_quiet()) {
        for (index, line) in lines(row).into_iter().enumerate() {
            let netns = match index {
                0 => short(report, row.netns, row.netns_nth),
                _ => String::new(),
            };
            grid.row([
                netns,
                line.counted.to_owned(),
                number(line.seen),
                number(line.kernel),
                signed(line.difference),
                escape(&line.remark),
            ]);
        }
    }
    grid
}

fn number(number: Option<i64>) -> String {
    number.map_or_else(
        || "-".to_owned(),
        |number| quantity::count(number.unsigned_abs()),
    )
}

fn signed(difference: Option<i64>) -> String {
    match difference {
        Some(0) => "0".to_owned(),
        Some(difference) => format!("{difference:+}"),
        None => "-".to_owned(),
    }
}

struct ComparisonLine {
    counted: &'static str,
    seen: Option<i64>,
    kernel: Option<i64>,
    difference: Option<i64>,
    uncertainty: u64,
    remark: String,
}

/// The figures of one namespace; except for the first, figures that are 0 on both sides are left out.
fn lines(row: &AuditRow) -> Vec<ComparisonLine> {
    let count = |count: Option<u64>| count.map(u64::cast_signed);
    let line = |counted, seen, kernel, (difference, uncertainty)| ComparisonLine {
        counted,
        seen,
        kernel,
        difference,
        uncertainty,
        remark: String::new(),
    };
    let mut lines = vec![
        ComparisonLine {
            remark: remark(row),
            ..line(
                "TIME_WAITs created",
                count(Some(row.births_seen)),
                count(row.births_kernel),
                (row.difference, row.uncertainty),
            )
        },
        line(
            "TIME_WAITs refused",
            count(Some(row.overflow_seen)),
            count(row.overflow_kernel),
            (row.overflow_difference, row.overflow_uncertainty),
        ),
        line(
            "TIME_WAITs ended",
            count(row.ends_seen),
            count(row.ends_kernel),
            (row.ends_difference, row.ends_uncertainty),
        ),
        line(
            "TIME_WAITs reused",
            count(row.reused_seen),
            count(row.reused_kernel),
            (row.reused_difference, row.reused_uncertainty),
        ),
        ComparisonLine {
            remark: row.resets_sent_why.clone().unwrap_or_default(),
            ..line(
                "RSTs sent",
                count(row.resets_sent_seen),
                count(row.resets_sent_kernel),
                (row.resets_sent_difference, row.resets_sent_uncertainty),
            )
        },
        line(
            "connections reset",
            count(Some(row.connections_reset_seen)),
            count(row.connections_reset_kernel),
            (
                row.connections_reset_difference,
                row.connections_reset_uncertainty,
            ),
        ),
    ];
    let kernel_counted = row.kernel_counted.unwrap_or_default();
    lines.extend(
        kernel_counted
            .named()
            .map(|(name, kernel)| line(name, None, count(Some(kernel)), (None, 0))),
    );
    // The first line's remark already contains it.
    let uncertain = lines[1..].iter_mut().filter(|line| {
        line.remark.is_empty() && line.difference.is_some_and(|difference| difference != 0)
    });
    for line in uncertain {
        if line.uncertainty > 0 {
            line.remark = format!(
                "traffic continued: may differ by up to {}",
                line.uncertainty
            );
        }
    }
    let mut is_first = true;
    lines.retain(|line| {
        let is_shown = is_first || line.seen.unwrap_or(0) != 0 || line.kernel.unwrap_or(0) != 0;
        is_first = false;
        is_shown
    });
    lines
}

fn remark(row: &AuditRow) -> String {
    let mut words = match (&row.why, row.audited) {
        (None, true) => String::new(),
        (None, false) => "not audited".to_owned(),
        (Some(why), true) => why.clone(),
        (Some(why), false) => format!("not audited: {why}"),
    };
    if row.inferred > 0 {
        if !words.is_empty() {
            words.push_str("; ");
        }
        // Writing to a String does not fail.
        let _ = write!(words, "{} inferred", row.inferred);
    }
    words
}
