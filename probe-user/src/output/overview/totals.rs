//! Totals of the whole host: what exists now, and what was created in the window.

use std::collections::BTreeMap;

use twtrace_core::event::answerable::Answerable;
use twtrace_core::event::quantity::{self, count, rate};
use twtrace_core::filter::Hidden;
use twtrace_core::model::counts::Counts;
use twtrace_core::model::groups::{self, GroupBy, GroupLabel, ProcessGroup};
use twtrace_core::model::pairs::PairCounts;
use twtrace_core::model::report::{ProcessRow, Report};
use twtrace_wire::{EventKind, PortOp, Unattributed};

use super::{Overview, name};
use crate::output::table::at_least;

/// Sums over all rows.
struct Totals {
    time_waits: u64,
    refused: u64,
    resets_sent: u64,
    resets_received: u64,
    aborts: u64,
    is_lower_bound: bool,
}

impl Totals {
    /// By process; or by pair, where a history can't tell what passes the filter by process.
    fn of(report: &Report) -> Self {
        let is_by_pair = report.history.is_some() && report.processes.is_empty();
        let processes = report.processes.iter().map(|row| &row.counts);
        if !is_by_pair {
            let sum = |of: &dyn Fn(&Counts) -> u64| processes.clone().map(of).sum();
            return Self {
                time_waits: sum(&|counts| counts.time_wait.total()),
                refused: sum(&|counts| counts.overflow.total()),
                resets_sent: sum(&|counts| counts.reset_sent.total()),
                resets_received: sum(&|counts| counts.reset_received.total()),
                aborts: sum(&|counts| counts.abort.total()),
                is_lower_bound: !report.exact.processes,
            };
        }
        let pairs = report.pairs.iter().map(|row| &row.counts);
        let sum = |of: &dyn Fn(&PairCounts) -> u64| pairs.clone().map(of).sum();
        Self {
            time_waits: sum(&|counts| counts.time_wait),
            refused: report.destinations.iter().map(|row| row.overflow).sum(),
            resets_sent: sum(&|counts| counts.deaths.reset_sent.total()),
            resets_received: sum(&|counts| counts.deaths.reset_received.total()),
            aborts: sum(&|counts| counts.deaths.abort.total()),
            is_lower_bound: report.has_inexact_pairs(),
        }
    }
}

/// A line for each kind of event. Those that did not happen are left out, except for the first two; and what the filter
/// hides.
pub(super) fn render(overview: &Overview<'_>) -> String {
    let report = overview.report;
    let totals = Totals::of(report);
    let shown = |text: String| at_least(text, totals.is_lower_bound);
    let seconds = (report.duration_ns as f64 / 1e9).max(0.001);

    let shows = |kind| overview.filter.shows_kind(kind);
    let mut first = Vec::new();
    if shows(EventKind::TimeWait) {
        first.push(format!("{} created", shown(count(totals.time_waits))));
        first.push(format!(
            "{}/s",
            shown(rate(totals.time_waits as f64 / seconds))
        ));
    }
    if let Some(now) = report.time_waits_alive.at_end {
        let grown = match report.time_waits_alive.at_start {
            Some(before) if before != now => format!(" (before: {})", count(before)),
            _ => String::new(),
        };
        let all = match overview.filter.hidden() {
            Hidden::Nothing | Hidden::Namespaces => "",
            Hidden::Connections | Hidden::Events => " in all",
        };
        first.insert(0, format!("{} exist{all}{grown}", count(now)));
    }
    if totals.refused > 0 {
        first.push(format!(
            "{} refused: tcp_max_tw_buckets",
            shown(count(totals.refused))
        ));
    }
    let mut second = Vec::new();
    if shows(EventKind::Reset) {
        second.push(format!("{} sent", shown(count(totals.resets_sent))));
        second.push(format!("{} received", shown(count(totals.resets_received))));
    }
    if totals.aborts > 0 {
        second.push(format!(
            "{} connections ended without RST",
            shown(count(totals.aborts))
        ));
    }
    let mut text = String::new();
    let mut line = |what: &str, parts: &[String]| {
        if parts.is_empty() {
            return;
        }
        overview.line(
            &mut text,
            (&format!("{what:<10}  "), 12),
            &parts.join("   "),
        );
    };
    line("TIME_WAIT", &first);
    line("RST", &second);
    for (op, what, errno) in [
        (PortOp::Connect, "connect()", "EADDRNOTAVAIL"),
        (PortOp::Bind, "bind()", "EADDRINUSE"),
    ] {
        if let Some(failed) = failures(report, op, errno) {
            line(what, &[failed]);
        }
    }
    if let Some(held) = close_wait(report) {
        line("CLOSE_WAIT", &[held]);
    }
    text
}

/// Calls that failed to get a local port, and whose they were.
fn failures(report: &Report, op: PortOp, errno: &str) -> Option<String> {
    let of = |row: &ProcessRow| -> u64 {
        let ports = row.ports.iter().filter(|port| port.op == op);
        ports.map(|port| port.failures).sum()
    };
    let with_errno: u64 = report
        .pairs
        .iter()
        .map(|pair| match op {
            PortOp::Connect => pair.counts.connect_failures,
            _ => pair.counts.bind_failures,
        })
        .sum();
    let failed: u64 = report.processes.iter().map(of).sum();
    // A history can't tell by process what passes some filters.
    if report.history.is_some() && report.processes.is_empty() && with_errno > 0 {
        return Some(format!(
            "{} failed with {errno}: no port was free",
            at_least(count(with_errno), true)
        ));
    }
    if failed == 0 {
        return None;
    }
    let only: Vec<ProcessRow> = report
        .processes
        .iter()
        .filter(|row| of(row) > 0)
        .map(|row| ProcessRow {
            ports: row
                .ports
                .iter()
                .filter(|port| port.op == op)
                .cloned()
                .collect(),
            ..ProcessRow::new(row.process.clone(), row.key())
        })
        .collect();
    let who = groups::processes(&only, GroupBy::Name);
    let why = match with_errno {
        0 => String::new(),
        some if some == failed => format!(" with {errno}: no port was free"),
        some => format!(", {} of them with {errno}: no port was free", count(some)),
    };
    Some(format!(
        "{} failed{why} ({})",
        at_least(count(failed), !report.exact.processes),
        names(&who)
    ))
}

/// Such as `batch-export` or `batch-export and 2 more`.
fn names(groups: &[ProcessGroup]) -> String {
    let first = groups
        .first()
        .map_or_else(String::new, |it| name(&it.label));
    match groups.len().saturating_sub(1) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Connections that a process shares with others count for each of them.
fn close_wait(report: &Report) -> Option<String> {
    let rows = &report.close_wait;
    let mut by_name: BTreeMap<GroupLabel, u64> = BTreeMap::new();
    for row in rows {
        let label = match &row.process {
            Some(process) => GroupBy::Name.label(Answerable::Process(process)),
            None => GroupLabel::Nobody(Unattributed::Unknown),
        };
        *by_name.entry(label).or_default() += row.count;
    }
    let connections: u64 = by_name.values().sum();
    let (who, most) = by_name.iter().max_by_key(|(_, count)| **count)?;
    let bound = if rows.iter().any(|row| row.shared > 0) {
        "≤"
    } else {
        ""
    };
    let oldest = rows.iter().filter_map(|row| row.oldest_ns).max();
    let oldest = oldest.map_or_else(String::new, |ns| {
        format!(", the oldest for at least {}", quantity::duration(ns))
    });
    Some(format!(
        "{bound}{} connection{}{oldest} ({}: {bound}{})",
        count(connections),
        if connections == 1 { "" } else { "s" },
        name(who),
        count(*most)
    ))
}
