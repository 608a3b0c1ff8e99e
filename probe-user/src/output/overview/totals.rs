//! Totals of the whole host: what exists now, and what was created in the window.

use std::fmt::Write;

use twtrace_core::event::quantity::{self, count, rate};
use twtrace_core::model::groups::{self, GroupBy, ProcessGroup};
use twtrace_core::model::report::{ProcessRow, Report};
use twtrace_wire::PortOp;

use super::{Overview, name};
use crate::output::table::at_least;

/// A line for each kind of event; those that did not happen are left out, except for the first two.
pub(super) fn render(overview: &Overview<'_>) -> String {
    let report = overview.report;
    let is_lower_bound = !report.exact.processes;
    let number = |of: &dyn Fn(&ProcessRow) -> u64| -> u64 { report.processes.iter().map(of).sum() };
    let shown = |value: u64| at_least(count(value), is_lower_bound);
    let seconds = (report.duration_ns as f64 / 1e9).max(0.001);

    let created = number(&|row| row.counts.time_wait.total());
    let refused = number(&|row| row.counts.overflow.total());
    let mut first = vec![
        format!("{} created", shown(created)),
        format!("{}/s", rate(created as f64 / seconds)),
    ];
    if let Some(now) = report.time_waits_alive.at_end {
        let grown = match report.time_waits_alive.at_start {
            Some(before) if before != now => format!(" (before: {})", count(before)),
            _ => String::new(),
        };
        first.insert(0, format!("{} exist now{grown}", count(now)));
    }
    if refused > 0 {
        first.push(format!("{} refused: tcp_max_tw_buckets", shown(refused)));
    }
    let mut second = vec![
        format!(
            "{} sent",
            shown(number(&|row| row.counts.reset_sent.total()))
        ),
        format!(
            "{} received",
            shown(number(&|row| row.counts.reset_received.total()))
        ),
    ];
    let aborts = number(&|row| row.counts.abort.total());
    if aborts > 0 {
        second.push(format!("{} connections ended without RST", shown(aborts)));
    }
    let mut text = String::new();
    let mut line = |what: &str, parts: &[String]| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{what:<10}  {}", parts.join("   "));
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
    let failed: u64 = report.processes.iter().map(of).sum();
    if failed == 0 {
        return None;
    }
    let with_errno: u64 = report
        .pairs
        .iter()
        .map(|pair| match op {
            PortOp::Connect => pair.counts.connect_failures,
            _ => pair.counts.bind_failures,
        })
        .sum();
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

fn close_wait(report: &Report) -> Option<String> {
    let rows = &report.close_wait;
    let connections: u64 = rows.iter().map(|row| row.count).sum();
    let most = rows.iter().max_by_key(|row| row.count)?;
    let who = most.process.as_ref().map_or_else(
        || "(unknown)".to_owned(),
        |process| {
            name(
                &GroupBy::Name.label(twtrace_core::event::answerable::Answerable::Process(
                    process,
                )),
            )
        },
    );
    let oldest = rows.iter().filter_map(|row| row.oldest_ns).max();
    let oldest = oldest.map_or_else(String::new, |ns| {
        format!(", the oldest for at least {}", quantity::duration(ns))
    });
    Some(format!(
        "{} connections{oldest} ({who}: {})",
        count(connections),
        count(most.count)
    ))
}
