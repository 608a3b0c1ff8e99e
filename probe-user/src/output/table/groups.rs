//! Processes by what they have in common, and single processes with each destination.

use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::groups::{self, GroupBy, GroupLabel, ProcessGroup};
use twtrace_core::model::pairs::PairRow;
use twtrace_core::model::report::Report;
use twtrace_wire::Side;

use super::grid::{Align, Grid};
use super::processes::{figure_of_counts, name_of, short_id};
use super::rows::{Figures, SortBy, has_any, sorted, split_by_all};
use super::{TableOptions, count, more, names, reasons};

/// The table of groups; empty without events.
pub fn grid(report: &Report, by: GroupBy, options: TableOptions) -> Grid<11> {
    let is_lower_bound = !report.exact.processes;
    let counted = |number: u64| count(number, is_lower_bound);
    let rows = groups::processes(&report.processes, by).into_iter();
    let rows = sorted(rows.filter(has_any), options.sort);
    let heading = match by {
        GroupBy::Name => "COMMAND",
        GroupBy::Unit => "UNIT",
        GroupBy::Container => "CONTAINER",
        GroupBy::Pod => "POD",
    };
    let mut grid = Grid::new(&[
        (heading, Align::Cut),
        ("PROCS", Align::Right),
        ("TW CLIENT", Align::Right),
        ("TW SERVER", Align::Right),
        ("TW UNKNOWN", Align::Right),
        ("FIN_WAIT2", Align::Right),
        ("REFUSED", Align::Right),
        ("RST SENT", Align::Tail),
        ("RST RECEIVED", Align::Tail),
        ("ABORTS", Align::Tail),
        ("NO PORT", Align::Right),
    ])
    .spare(&["TW UNKNOWN", "FIN_WAIT2"]);
    let cells = |label: String, row: &ProcessGroup| {
        let counts = &row.counts;
        [
            label,
            count(row.processes as u64, false),
            counted(counts.time_wait.of(Side::Client)),
            counted(counts.time_wait.of(Side::Server)),
            counted(counts.time_wait.of(Side::Unknown)),
            counted(counts.fin_wait2.total()),
            counted(counts.overflow.total()),
            reasons(&counts.reset_sent, is_lower_bound),
            reasons(&counts.reset_received, is_lower_bound),
            reasons(&counts.abort, is_lower_bound),
            counted(row.port_failures),
        ]
    };
    let (shown, others) = split_by_all(&rows, options.max_rows);
    for row in shown {
        grid.row(cells(label(&row.label, by), row));
    }
    if let Some((first, rest)) = others.split_first() {
        let mut sum = (*first).clone();
        for row in rest {
            sum.processes += row.processes;
            sum.counts.add_all(&row.counts);
            sum.port_failures += row.port_failures;
        }
        grid.row(cells(more(others.len()), &sum));
    }
    grid
}

impl Figures for ProcessGroup {
    fn figure(&self, figure: SortBy) -> u64 {
        figure_of_counts(&self.counts, self.port_failures, figure)
    }
}

/// The table of processes with each destination; empty without events.
pub fn pairs(report: &Report, options: TableOptions) -> Grid<9> {
    let is_lower_bound = report.has_inexact_pairs();
    let counted = |number: u64| count(number, is_lower_bound);
    let rows = sorted(report.pairs.iter().filter(has_any), options.sort);
    let mut grid = Grid::new(&[
        ("PROCESS", Align::Cut),
        ("NETNS", Align::Cut),
        ("ROLE", Align::Left),
        ("PEER/PORT", Align::Cut),
        ("CREATED", Align::Right),
        ("RST SENT", Align::Tail),
        ("RST RECEIVED", Align::Tail),
        ("ABORTS", Align::Tail),
        ("NO PORT", Align::Right),
    ]);
    let (shown, others) = split_by_all(&rows, options.max_rows);
    for row in shown {
        let deaths = &row.counts.deaths;
        grid.row([
            name_of(row.answerable()),
            names::short(report, row.netns, row.netns_nth),
            row.side.word().to_owned(),
            row.destination.to_string(),
            counted(row.counts.time_wait),
            reasons(&deaths.reset_sent, is_lower_bound),
            reasons(&deaths.reset_received, is_lower_bound),
            reasons(&deaths.abort, is_lower_bound),
            counted(row.figure(SortBy::Failures)),
        ]);
    }
    if !others.is_empty() {
        let sum = |figure| counted(others.iter().map(|row| row.figure(figure)).sum());
        grid.row([
            more(others.len()),
            String::new(),
            String::new(),
            String::new(),
            sum(SortBy::Created),
            sum(SortBy::Sent),
            sum(SortBy::Received),
            sum(SortBy::Aborts),
            sum(SortBy::Failures),
        ]);
    }
    grid
}

impl Figures for PairRow {
    fn figure(&self, figure: SortBy) -> u64 {
        let counts = &self.counts;
        match figure {
            SortBy::Created => counts.time_wait,
            SortBy::Sent => counts.deaths.reset_sent.total(),
            SortBy::Received => counts.deaths.reset_received.total(),
            SortBy::Aborts => counts.deaths.abort.total(),
            SortBy::Failures => counts.connect_failures + counts.bind_failures,
        }
    }
}

/// What the processes of a group have in common.
pub fn label(label: &GroupLabel, by: GroupBy) -> String {
    match (label, by) {
        (GroupLabel::Is(id), GroupBy::Container) => escape(&short_id(id)),
        (GroupLabel::Is(name), _) => escape(name),
        (GroupLabel::Without, GroupBy::Name) => "?".to_owned(),
        (GroupLabel::Without, GroupBy::Unit) => "(no unit)".to_owned(),
        (GroupLabel::Without, GroupBy::Container) => "(no container)".to_owned(),
        (GroupLabel::Without, GroupBy::Pod) => "(no pod)".to_owned(),
        (GroupLabel::Nobody(reason), _) => format!("({})", reason.word()),
    }
}
