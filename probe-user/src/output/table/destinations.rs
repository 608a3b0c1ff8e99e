//! By destination: remote address and port of clients, local port of servers.

use twtrace_core::event::words::Word;
use twtrace_core::model::destinations::DestinationRow;
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};
use super::names::short;
use super::rows::{Figures, SortBy, has_any, sorted, split_by_all};
use super::{TableOptions, count, more, reasons};

/// The table; empty without events.
pub fn render(report: &Report, options: TableOptions) -> String {
    text(&grid(report, options), options.width)
}

/// The table.
pub fn grid(report: &Report, options: TableOptions) -> Grid<10> {
    // Destinations with reuse only have a table of their own.
    let rows = sorted(report.destinations.iter().filter(has_any), options.sort);
    let mut grid = Grid::new(&[
        ("ROLE", Align::Left),
        ("PEER/PORT", Align::Cut),
        ("NETNS", Align::Cut),
        ("TIME_WAIT", Align::Right),
        ("FIN_WAIT2", Align::Right),
        ("REFUSED", Align::Right),
        ("NO PORT", Align::Right),
        ("RST SENT", Align::Tail),
        ("RST RECEIVED", Align::Tail),
        ("ABORTS", Align::Tail),
    ])
    .spare(&["FIN_WAIT2"]);
    let is_lower_bound = !report.exact.destinations;
    let (shown, others) = split_by_all(&rows, options.max_rows);
    for row in shown {
        grid.row([
            row.side.word().to_owned(),
            row.destination.to_string(),
            row.netns
                .map_or_else(String::new, |netns| short(report, netns, row.netns_nth)),
            count(row.time_wait, is_lower_bound),
            count(row.fin_wait2, is_lower_bound),
            count(row.overflow, is_lower_bound),
            count(row.port_failures, is_lower_bound),
            reasons(&row.deaths.reset_sent, is_lower_bound),
            reasons(&row.deaths.reset_received, is_lower_bound),
            reasons(&row.deaths.abort, is_lower_bound),
        ]);
    }
    if !others.is_empty() {
        let sum = |of: fn(&DestinationRow) -> u64| {
            count(others.iter().map(|row| of(row)).sum(), is_lower_bound)
        };
        grid.row([
            String::new(),
            more(others.len()),
            String::new(),
            sum(|row| row.time_wait),
            sum(|row| row.fin_wait2),
            sum(|row| row.overflow),
            sum(|row| row.port_failures),
            sum(|row| row.deaths.reset_sent.total()),
            sum(|row| row.deaths.reset_received.total()),
            sum(|row| row.deaths.abort.total()),
        ]);
    }
    if is_lower_bound {
        let lost = report.lost.iter().filter(|row| row.probe.is_event());
        let events: u64 = lost.map(|row| row.count).sum();
        let mut cells = [const { String::new() }; 10];
        cells[1] = format!("lost: {events} events");
        grid.row(cells);
    }
    grid
}

impl Figures for DestinationRow {
    fn figure(&self, figure: SortBy) -> u64 {
        match figure {
            SortBy::Created => self.time_wait + self.overflow,
            SortBy::Sent => self.deaths.reset_sent.total(),
            SortBy::Received => self.deaths.reset_received.total(),
            SortBy::Aborts => self.deaths.abort.total(),
            SortBy::Failures => self.port_failures,
        }
    }
}
