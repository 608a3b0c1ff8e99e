//! By destination: remote address and port of clients, local port of servers.

use twtrace_core::event::words::Word;
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};
use super::names::shown_netns;
use super::{SHOWN, by_reason, count};

/// The table; empty without events.
pub fn render(report: &Report) -> String {
    text(&grid(report))
}

/// The table.
pub fn grid(report: &Report) -> Grid<10> {
    // Destinations with reuse only have a table of their own.
    let rows: Vec<_> = report
        .destinations
        .iter()
        .filter(|row| {
            let deaths = &row.deaths;
            row.time_wait + row.overflow + row.port_failures > 0
                || deaths.reset_sent.total() + deaths.reset_received.total() > 0
                || deaths.abort.total() > 0
        })
        .collect();
    let mut grid = Grid::new(&[
        ("SIDE", Align::Left),
        ("DESTINATION", Align::Left),
        ("NETNS", Align::Right),
        ("TIME_WAIT", Align::Right),
        ("OF THESE FIN_WAIT2", Align::Right),
        ("OVERFLOW", Align::Right),
        ("NO PORT", Align::Right),
        ("RST SENT", Align::Left),
        ("RST RECEIVED", Align::Left),
        ("ABORTS", Align::Left),
    ]);
    let at_least = !report.exact.destinations;
    let shown = rows.len().min(SHOWN);
    for row in &rows[..shown] {
        grid.row([
            row.side.word().to_owned(),
            row.destination.to_string(),
            row.netns
                .map_or_else(|| "-".to_owned(), |netns| shown_netns(netns, row.netns_nth)),
            count(row.time_wait, at_least),
            count(row.fin_wait2, at_least),
            count(row.overflow, at_least),
            count(row.port_failures, at_least),
            by_reason(&row.deaths.reset_sent, at_least),
            by_reason(&row.deaths.reset_received, at_least),
            by_reason(&row.deaths.abort, at_least),
        ]);
    }
    let others = &rows[shown..];
    if !others.is_empty() {
        let sum = |of: fn(&twtrace_core::model::destinations::DestinationRow) -> u64| {
            count(others.iter().map(|row| of(row)).sum(), at_least)
        };
        let dash = || "-".to_owned();
        grid.row([
            dash(),
            format!("({} others)", others.len()),
            dash(),
            sum(|row| row.time_wait),
            sum(|row| row.fin_wait2),
            sum(|row| row.overflow),
            sum(|row| row.port_failures),
            sum(|row| row.deaths.reset_sent.total()),
            sum(|row| row.deaths.reset_received.total()),
            sum(|row| row.deaths.abort.total()),
        ]);
    }
    if at_least {
        let events: u64 = report
            .lost
            .iter()
            .filter(|row| row.probe.is_event())
            .map(|row| row.count)
            .sum();
        let dash = || "-".to_owned();
        grid.row([
            dash(),
            format!("lost: {events} events"),
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
        ]);
    }
    grid
}
