//! What changed between two reports, as text.

use std::fmt::Write;

use twtrace_core::event::quantity::{duration, rate};
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::difference::{Compared, Difference, DifferenceRow, Rates};
use twtrace_core::model::groups::GroupBy;

use super::overview::span;
use super::page::Page;
use super::table::grid::{Align, Grid};
use super::table::groups::label;
use super::table::rows::split;

/// Maximum number of rows if none is requested.
const MAX_ROWS: usize = 20;

/// Both spans, totals, then the rows that changed most.
pub fn render(difference: &Difference, max_rows: Option<usize>, page: Page) -> String {
    let mut text = String::new();
    for (word, side) in [("old", &difference.old), ("new", &difference.new)] {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{word}  {}", head(side));
    }
    let mut grid = Grid::new(&[
        ("COMMAND", Align::Cut),
        ("ROLE", Align::Left),
        ("PEER/PORT", Align::Cut),
        ("CREATED/S", Align::Right),
        ("RST SENT/S", Align::Right),
        ("RST RECEIVED/S", Align::Right),
        ("NO PORT/S", Align::Right),
    ]);
    let (old, new) = (&difference.old.total, &difference.new.total);
    grid.row(cells(
        [String::from("all"), String::new(), String::new()],
        old,
        new,
    ));
    let created = |row: &DifferenceRow| change(row.old.time_wait_per_s, row.new.time_wait_per_s);
    let sent = |row: &DifferenceRow| change(row.old.reset_sent_per_s, row.new.reset_sent_per_s);
    let received =
        |row: &DifferenceRow| change(row.old.reset_received_per_s, row.new.reset_received_per_s);
    let no_port = |row: &DifferenceRow| change(row.old.no_port_per_s, row.new.no_port_per_s);
    let (shown, others) = split(
        &difference.rows,
        max_rows.unwrap_or(MAX_ROWS),
        &[&created, &sent, &received, &no_port],
    );
    for row in shown {
        grid.row(cells(
            [
                label(&row.label, GroupBy::Name),
                row.side.word().to_owned(),
                row.destination.to_string(),
            ],
            &row.old,
            &row.new,
        ));
    }
    let _ = write!(text, "\n{}", grid.fitted(page.width));
    if !others.is_empty() {
        let _ = writeln!(
            text,
            "({} more with smaller changes: --top N)",
            others.len()
        );
    }
    let unchanged = match (difference.rows.len(), difference.unchanged) {
        (0, 0) => "neither has TIME_WAIT sockets, RSTs or failed allocations".to_owned(),
        (0, _) => "no rate changed".to_owned(),
        (_, 0) => String::new(),
        (_, 1) => "1 more command with a destination: no change".to_owned(),
        (_, same) => format!("{same} more commands with a destination: no change"),
    };
    if !unchanged.is_empty() {
        let _ = writeln!(text, "\n{unchanged}");
    }
    if difference.old.is_lower_bound || difference.new.is_lower_bound {
        text.push_str("events were lost: rates may be too low\n");
    }
    text
}

/// Such as `web-1 · 2026-11-29 17:32:00–17:42:00 UTC · 10m00s`.
fn head(side: &Compared) -> String {
    format!(
        "{} · {} · {}",
        escape(&side.host),
        span(side.start, side.end),
        duration(side.duration_ns)
    )
}

fn cells([command, role, peer]: [String; 3], old: &Rates, new: &Rates) -> [String; 7] {
    [
        command,
        role,
        peer,
        from_to(old.time_wait_per_s, new.time_wait_per_s),
        from_to(old.reset_sent_per_s, new.reset_sent_per_s),
        from_to(old.reset_received_per_s, new.reset_received_per_s),
        from_to(old.no_port_per_s, new.no_port_per_s),
    ]
}

/// Such as `6.4 → 87`; empty if both are 0.
fn from_to(old: f64, new: f64) -> String {
    let shown = |per_s: f64| match rate(per_s).as_str() {
        // Fewer than the digits can show, and not none.
        "0.00" => "<0.01".to_owned(),
        text => text.to_owned(),
    };
    match (shown(old), shown(new)) {
        (old, new) if old == "0" && new == "0" => String::new(),
        (old, new) if old == new => old,
        (old, new) => format!("{old} → {new}"),
    }
}

/// How much a rate changed, as a figure that rows can be compared by.
fn change(old: f64, new: f64) -> u64 {
    ((new - old).abs() * 1e3) as u64
}

#[cfg(test)]
mod tests {
    use twtrace_core::doctor::samples as facts;
    use twtrace_core::model::report::Report;
    use twtrace_wire::Side;

    use super::*;

    fn report(time_wait: u64, linger_zero: u64) -> Report {
        let mut report = facts::healthy().report;
        report.pairs = vec![
            facts::pair(Side::Client, "10.0.0.2:80", time_wait, linger_zero),
            facts::pair(Side::Server, "443", 20, 0),
        ];
        report
    }

    #[test]
    fn what_changed_is_said_as_rates() {
        let text =
            |old: &Report, new: &Report| render(&Difference::of(old, new), None, Page::default());
        assert_eq!(
            text(&report(64, 0), &report(870, 50)),
            "old  host · 1970-01-01 00:00:00–00:00:10 UTC · 10.0s\n\
             new  host · 1970-01-01 00:00:00–00:00:10 UTC · 10.0s\n\n\
             COMMAND  ROLE    PEER/PORT    CREATED/S  RST SENT/S\n\
             all                            8.4 → 89     0 → 5.0\n\
             nginx    client  10.0.0.2:80   6.4 → 87     0 → 5.0\n\n\
             1 more command with a destination: no change\n"
        );
        let same = report(1, 1);
        assert!(text(&same, &same).ends_with("\nno rate changed\n"));
    }
}
