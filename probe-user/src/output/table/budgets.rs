//! Budgets of local ports: how full they are, and for how long they last.

use std::fmt::Write;

use super::SHOWN;
use super::grid::{Align, Grid};
use crate::model::budget::row::{BudgetRow, OtherBudgets, Outlook, PoolWord};
use crate::model::report::Report;
use crate::output::quantity::duration;
use crate::output::text::escape;

/// Budgets that are used less are left out, unless a search failed.
const WORTH_SHOWING: f64 = 0.01;

/// The table, and what it leaves out. Where nobody looks for ports: a sentence if it was asked for, else
/// nothing.
pub fn render(report: &Report, is_asked_for: bool) -> String {
    if is_asked_for && report.budgets.is_empty() && report.budgets_unknown.is_empty() {
        return "no local port is held by a client\n".to_owned();
    }
    let is_worth =
        |row: &&BudgetRow| row.failures > 0 || row.used().is_none_or(|used| used >= WORTH_SHOWING);
    let (worth, mut hidden): (Vec<&BudgetRow>, Vec<&BudgetRow>) =
        report.budgets.iter().partition(is_worth);
    let shown = &worth[..worth.len().min(SHOWN)];
    hidden.extend(&worth[shown.len()..]);
    let mut text = match shown.is_empty() {
        true => String::new(),
        false => grid(shown).to_string(),
    };
    let mut others = OtherBudgets::of(hidden);
    others.add(&report.other_budgets);
    if !others.is_empty() {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{} more, less full: live {}, TIME_WAIT {}, failed {}",
            others.count, others.live, others.time_wait, others.failures
        );
    }
    for unknown in &report.budgets_unknown {
        let _ = writeln!(text, "{}: {}", unknown.netns, escape(&unknown.why));
    }
    text
}

fn grid(rows: &[&BudgetRow]) -> Grid<12> {
    let mut grid = Grid::new(&[
        ("NETNS", Align::Right),
        ("SOURCE", Align::Left),
        ("DESTINATION", Align::Left),
        ("RANGE", Align::Left),
        ("LIVE", Align::Right),
        ("TW", Align::Right),
        ("FREE", Align::Right),
        ("USED", Align::Right),
        ("NEW/S", Align::Right),
        ("EXPIRE/S", Align::Right),
        ("FAILED", Align::Right),
        ("LEFT", Align::Left),
    ]);
    for row in rows {
        grid.row([
            row.netns.to_string(),
            or_dash(row.source),
            match (row.destination, row.pool) {
                (Some(destination), _) => destination.to_string(),
                (None, PoolWord::Bind) => "(any: bind before connect)".to_owned(),
                (None, PoolWord::Connect) => "-".to_owned(),
            },
            range(row),
            or_dash(row.live),
            time_waits(row),
            or_dash(row.free),
            row.used()
                .map_or_else(dash, |used| format!("{:.0}%", used * 100.0)),
            row.connections_per_s.map_or_else(dash, rate),
            row.expiry_per_s.map_or_else(dash, rate),
            row.failures.to_string(),
            left(row),
        ]);
    }
    grid
}

fn dash() -> String {
    "-".to_owned()
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(dash, |value| value.to_string())
}

/// `32768-60999`, and what of it is not to be had: `32768-60999 less 3`.
fn range(row: &BudgetRow) -> String {
    match (row.range, row.excluded) {
        (Some(range), None | Some(0)) => range.to_string(),
        (Some(range), Some(excluded)) => format!("{range} less {excluded}"),
        (None, _) => dash(),
    }
}

/// `500`, or `500 (480 reusable)`.
fn time_waits(row: &BudgetRow) -> String {
    match (row.time_wait, row.time_wait_reusable) {
        (Some(time_wait), None | Some(0)) => time_wait.to_string(),
        (Some(time_wait), Some(reusable)) => format!("{time_wait} ({reusable} reusable)"),
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

/// `full`, `full in 41s`, or `-` for never; and whether the half that is tried first is full.
fn left(row: &BudgetRow) -> String {
    let left = match (row.outlook, row.full_in_ns) {
        (Outlook::Full, _) => return "full".to_owned(),
        (Outlook::RunsOut, Some(full_in_ns)) => format!("full in {}", duration(full_in_ns)),
        (Outlook::RunsOut, None) | (Outlook::Never, _) => dash(),
        (Outlook::Unknown, _) => "?".to_owned(),
    };
    match row.is_fast_half_full() {
        true => format!("{left}, fast half full"),
        false => left,
    }
}
