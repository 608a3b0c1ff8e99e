//! Ephemeral port allocations: how many, how many failed, and how long they took.

use twtrace_core::event::quantity::duration;
use twtrace_core::event::words::Word;
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};
use super::processes::name;
use super::rows::split;
use super::{count, more};

/// The table; empty without allocations. Failures first, then the slowest.
pub fn render(report: &Report, max_rows: usize, page_width: Option<usize>) -> String {
    text(&grid(report, max_rows), page_width)
}

/// The table.
pub fn grid(report: &Report, max_rows: usize) -> Grid<7> {
    let mut rows: Vec<_> = report
        .processes
        .iter()
        .flat_map(|row| row.ports.iter().map(move |port| (row, port)))
        .collect();
    rows.sort_by_key(|(_, port)| std::cmp::Reverse((port.failures, port.max_ns, port.count)));
    let at_least = !report.exact.processes;
    let mut grid = Grid::new(&[
        ("PROCESS", Align::Cut),
        ("OPERATION", Align::Left),
        ("COUNT", Align::Right),
        ("FAILED", Align::Right),
        ("P50", Align::Right),
        ("P99", Align::Right),
        ("MAX", Align::Right),
    ]);
    let (shown, others) = split(&rows, max_rows, &[&|(_, port)| port.count]);
    for (row, port) in shown {
        let latency = |ns: Option<u64>| match ns {
            Some(ns) if port.exact => duration(ns),
            Some(ns) => format!("≤{}", duration(ns)),
            None => String::new(),
        };
        grid.row([
            name(row),
            port.op.word().to_owned(),
            count(port.count, at_least),
            count(port.failures, at_least),
            latency(port.p50_ns),
            latency(port.p99_ns),
            latency(port.max_ns),
        ]);
    }
    if !others.is_empty() {
        let sum = |of: fn(&twtrace_core::model::report::PortRow) -> u64| {
            others.iter().map(|(_, port)| of(port)).sum()
        };
        let empty = String::new;
        grid.row([
            more(others.len()),
            empty(),
            count(sum(|port| port.count), at_least),
            count(sum(|port| port.failures), at_least),
            empty(),
            empty(),
            empty(),
        ]);
    }
    grid
}
