//! Port pools: their usage, and when they run out.

use std::fmt::Write;

use twtrace_core::event::quantity::{self, duration};
use twtrace_core::event::text::escape;
use twtrace_core::model::budget::row::{BudgetRow, OtherBudgets, Outlook, PoolWord};
use twtrace_core::model::pairs;
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};
use super::names::short;
use super::{TableOptions, count};
use crate::output::lines::process_name;

/// Pools with a lower usage are left out, unless an allocation failed.
const WORTH_SHOWING: f64 = 0.01;

/// The table, and what it leaves out. Without pools: a sentence if the table was requested, else nothing.
pub fn render(report: &Report, is_asked_for: bool, options: TableOptions) -> String {
    let TableOptions {
        max_rows, width, ..
    } = options;
    if is_asked_for && report.budgets.is_empty() && report.budgets_unknown.is_empty() {
        return "no client holds an ephemeral port\n".to_owned();
    }
    let mut text = text(&table(report, max_rows), width);
    for remark in remarks(report, max_rows) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{remark}");
    }
    text
}

/// Pools that are listed, the fullest first.
pub fn worth(report: &Report, max_rows: usize) -> Vec<&BudgetRow> {
    let rows = report.budgets.iter().filter(|row| is_worth(row));
    rows.take(max_rows).collect()
}

fn is_worth(row: &BudgetRow) -> bool {
    row.failures > 0 || row.used().is_none_or(|used| used >= WORTH_SHOWING)
}

/// The table.
pub fn table(report: &Report, max_rows: usize) -> Grid<13> {
    grid(report, &worth(report, max_rows))
}

/// Remarks about what the table leaves out, one per line.
pub fn remarks(report: &Report, max_rows: usize) -> Vec<String> {
    let hidden = report.budgets.iter().filter(|row| !is_worth(row));
    let beyond = report
        .budgets
        .iter()
        .filter(|row| is_worth(row))
        .skip(max_rows);
    let mut others = OtherBudgets::of(hidden.chain(beyond));
    others.add(&report.other_budgets);
    let mut remarks = Vec::new();
    if !others.is_empty() {
        remarks.push(format!(
            "{} more pools, less full: {} live, {} in TIME_WAIT, {} failed",
            others.count, others.live, others.time_wait, others.failures
        ));
    }
    for unknown in &report.budgets_unknown {
        remarks.push(format!(
            "{}: {}",
            short(report, unknown.netns, report.last_nth(unknown.netns)),
            escape(&unknown.why)
        ));
    }
    remarks
}

fn grid(report: &Report, rows: &[&BudgetRow]) -> Grid<13> {
    let mut grid = Grid::new(&[
        ("NETNS", Align::Cut),
        ("SOURCE", Align::Cut),
        ("DESTINATION", Align::Cut),
        ("RANGE", Align::Left),
        ("LIVE", Align::Right),
        ("TIME_WAIT", Align::Right),
        ("FREE", Align::Right),
        ("USED", Align::Right),
        ("NEW/S", Align::Right),
        ("EXPIRED/S", Align::Right),
        ("FAILED", Align::Right),
        ("FULL IN", Align::Left),
        ("LIVE BY", Align::Cut),
    ])
    .spare(&["EXPIRED/S", "RANGE", "NEW/S", "LIVE"]);
    for row in rows {
        grid.row([
            short(report, row.netns, report.last_nth(row.netns)),
            or_dash(row.source),
            match (row.destination, row.pool) {
                (Some(destination), _) => destination.to_string(),
                (None, PoolWord::Bind) => "(any: bind before connect)".to_owned(),
                (None, PoolWord::Connect) => "-".to_owned(),
            },
            range(row),
            number(row.live),
            time_waits(row),
            number(row.free),
            row.used()
                .map_or_else(dash, |used| format!("{:.0}%", used * 100.0)),
            row.connections_per_s.map_or_else(dash, rate),
            row.expiry_per_s.map_or_else(dash, rate),
            count(row.failures, false),
            full_in(row),
            live_by(row),
        ]);
    }
    grid
}

/// The process with most of its live sockets, and how many others are known.
fn live_by(row: &BudgetRow) -> String {
    let Some(first) = row.live_by.first() else {
        return String::new();
    };
    let name = match &first.process {
        Some(process) => process_name(process),
        None => pairs::NOBODY.to_owned(),
    };
    match row.live_by.len() {
        1 => name,
        more => format!("{name} and {} more", more - 1),
    }
}

/// One pool in a line: `10.0.0.1, 32768-60999: 3 live, 500 in TIME_WAIT, 27729 free (2% used), 12 new/s, ...`.
pub fn line(row: &BudgetRow) -> String {
    let used = row
        .used()
        .map_or_else(dash, |used| format!("{:.0}%", used * 100.0));
    let left = match left(row).as_str() {
        "-" => "never full at this rate".to_owned(),
        "?" => "outlook not known".to_owned(),
        left => left.to_owned(),
    };
    format!(
        "from {}, range {}: {} live, {} in TIME_WAIT, {} free ({used} used), {} new/s, {} expire/s, \
         {} failed, {left}",
        or_dash(row.source),
        range(row),
        or_dash(row.live),
        time_waits(row),
        or_dash(row.free),
        row.connections_per_s.map_or_else(dash, rate),
        row.expiry_per_s.map_or_else(dash, rate),
        row.failures,
    )
}

fn dash() -> String {
    "-".to_owned()
}

fn number(value: Option<u32>) -> String {
    value.map_or_else(dash, |value| quantity::count(u64::from(value)))
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(dash, |value| value.to_string())
}

/// Such as `32768-60999`, or with unavailable ports `32768-60999 less 3`.
fn range(row: &BudgetRow) -> String {
    let Some(range) = row.range else {
        return dash();
    };
    let own = if row.socket_range {
        " (sockets' own)"
    } else {
        ""
    };
    match row.excluded {
        None | Some(0) => format!("{range}{own}"),
        Some(excluded) => format!("{range}{own} less {excluded}"),
    }
}

/// Such as `500`, or `500 (480 reusable)`.
fn time_waits(row: &BudgetRow) -> String {
    match (row.time_wait, row.time_wait_reusable) {
        (Some(time_wait), None | Some(0)) => quantity::count(u64::from(time_wait)),
        (Some(time_wait), Some(reusable)) => format!(
            "{} ({} reusable)",
            quantity::count(u64::from(time_wait)),
            quantity::count(u64::from(reusable))
        ),
        (None, _) => dash(),
    }
}

fn rate(per_s: f64) -> String {
    match per_s {
        0.0 => "0".to_owned(),
        0.0..10.0 => format!("{per_s:.1}"),
        _ => format!("{per_s:.0}"),
    }
}

/// The cell of the column FULL IN: `now`, `41s`, empty for never; and whether the half that is tried first is full.
pub fn full_in(row: &BudgetRow) -> String {
    let left = left(row);
    match left.strip_prefix("full in ").unwrap_or(&left) {
        "full" => "now".to_owned(),
        "-" => String::new(),
        left => left.strip_prefix("-, ").unwrap_or(left).to_owned(),
    }
}

/// `full`, `full in 41s`, or `-` for never; and whether the half that is tried first is full.
pub fn left(row: &BudgetRow) -> String {
    let left = match (row.outlook, row.full_in_ns) {
        (Outlook::Full, _) => return "full".to_owned(),
        (Outlook::RunsOut, Some(full_in_ns)) => format!("full in {}", duration(full_in_ns)),
        (Outlook::RunsOut, None) | (Outlook::Never, _) => dash(),
        (Outlook::Unknown, _) => "?".to_owned(),
    };
    if row.is_fast_half_full() {
        format!("{left}, fast half full")
    } else {
        left
    }
}

#[cfg(test)]
mod tests {
    use twtrace_core::model::budget::ports::PortRange;
    use twtrace_core::model::budget::row::HalfRow;

    use super::*;

    fn row(free: u32, failures: u64, outlook: Outlook, full_in_ns: Option<u64>) -> BudgetRow {
        BudgetRow {
            netns: 42,
            pool: PoolWord::Connect,
            source: Some("10.0.0.1".parse().unwrap()),
            destination: Some("10.0.0.2:80".parse().unwrap()),
            range: Some(PortRange {
                low: 40_000,
                high: 40_999,
            }),
            socket_range: false,
            excluded: Some(0),
            capacity: Some(1_000),
            live: Some(0),
            time_wait: Some(1_000 - free),
            time_wait_reusable: Some(0),
            free: Some(free),
            fast_half: Some(HalfRow {
                capacity: 500,
                free: free.saturating_sub(500),
                full_in_ns: None,
            }),
            connections_per_s: Some(12.34),
            live_growth_per_s: Some(0.0),
            expiry_per_s: Some(0.0),
            live_by: Vec::new(),
            bound_by: Vec::new(),
            failures,
            outlook,
            full_in_ns,
            why: None,
        }
    }

    fn line(row: &BudgetRow) -> String {
        let report = twtrace_core::doctor::samples::healthy().report;
        let text = grid(&report, &[row]).to_string();
        let line = text.lines().last().unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_left_is_said() {
        let soon = row(400, 0, Outlook::RunsOut, Some(41_000_000_000));
        assert_eq!(
            line(&soon),
            "42 10.0.0.1 10.0.0.2:80 40000-40999 0 600 400 60% 12 0 41.0s, fast half full"
        );
        assert!(line(&row(0, 9, Outlook::Full, Some(0))).ends_with("100% 12 0 9 now"));
        assert!(line(&row(900, 0, Outlook::Never, None)).ends_with("10% 12 0"));
    }

    #[test]
    fn a_pool_of_bind_and_what_is_not_known() {
        let mut pool = row(900, 0, Outlook::Never, None);
        (pool.pool, pool.destination) = (PoolWord::Bind, None);
        (pool.excluded, pool.time_wait_reusable) = (Some(3), Some(90));
        let text = line(&pool);
        assert!(text.contains("(any: bind before connect) 40000-40999 less 3 0 100 (90 reusable)"));
        let unknown = BudgetRow {
            range: None,
            capacity: None,
            live: None,
            time_wait: None,
            free: None,
            fast_half: None,
            connections_per_s: None,
            expiry_per_s: None,
            outlook: Outlook::Unknown,
            ..row(0, 2, Outlook::Unknown, None)
        };
        assert_eq!(line(&unknown), "42 10.0.0.1 10.0.0.2:80 - - - - - - - 2 ?");
    }
}
