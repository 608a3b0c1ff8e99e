//! By process: TIME_WAITs by side, resets by direction and reason, aborts.

use twtrace_core::event::Process;
use twtrace_core::event::answerable::Answerable;
use twtrace_core::event::place::CONTAINER_ID_DIGITS;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::counts::Counts;
use twtrace_core::model::report::{ProcessRow, Report};
use twtrace_wire::Side;

use super::grid::{Align, Grid};
use super::rows::{Figures, SortBy, sorted, split_by_all};
use super::{NOTHING, TableOptions, count, more, reasons};
use crate::output::lines::process_name;

/// The table, or a sentence without events.
pub fn render(report: &Report, options: TableOptions) -> String {
    let grid = grid(report, options);
    if grid.is_empty() {
        NOTHING.to_owned()
    } else {
        grid.fitted(options.width)
    }
}

/// The table. Those with the largest figures are always shown.
pub fn grid(report: &Report, options: TableOptions) -> Grid<11> {
    // Ends of TIME_WAITs are in another table.
    let has_row = |row: &&ProcessRow| row.counts.has_shown() || row.port_failures() > 0;
    let rows = sorted(report.processes.iter().filter(has_row), options.sort);
    let is_lower_bound = !report.exact.processes;
    let mut grid = Grid::new(&[
        ("PROCESS", Align::Cut),
        ("TW CLIENT", Align::Right),
        ("TW SERVER", Align::Right),
        ("TW UNKNOWN", Align::Right),
        ("FIN_WAIT2", Align::Right),
        ("REFUSED", Align::Right),
        ("RST SENT", Align::Tail),
        ("RST RECEIVED", Align::Tail),
        ("ABORTS", Align::Tail),
        ("NO PORT", Align::Right),
        ("UNIT/CONTAINER", Align::Cut),
    ])
    .spare(&["TW UNKNOWN", "UNIT/CONTAINER", "FIN_WAIT2"]);
    let (shown, others) = split_by_all(&rows, options.max_rows);
    for row in shown {
        let failures = row.port_failures();
        let name = name(row);
        grid.row(cells(
            name,
            &row.counts,
            failures,
            is_lower_bound,
            place(row),
        ));
    }
    if !others.is_empty() {
        let mut counts = Counts::default();
        for row in &others {
            counts.add_all(&row.counts);
        }
        grid.row(cells(
            more(others.len()),
            &counts,
            others.iter().map(|row| row.port_failures()).sum(),
            is_lower_bound,
            String::new(),
        ));
    }
    grid
}

impl Figures for ProcessRow {
    fn figure(&self, figure: SortBy) -> u64 {
        figure_of_counts(&self.counts, self.port_failures(), figure)
    }
}

/// A figure of one or more processes.
pub fn figure_of_counts(counts: &Counts, port_failures: u64, figure: SortBy) -> u64 {
    match figure {
        SortBy::Created => counts.time_wait.total() + counts.overflow.total(),
        SortBy::Sent => counts.reset_sent.total(),
        SortBy::Received => counts.reset_received.total(),
        SortBy::Aborts => counts.abort.total(),
        SortBy::Failures => port_failures,
    }
}

/// The process, or why there is none.
pub fn name(row: &ProcessRow) -> String {
    name_of(row.answerable())
}

/// The same for a process and a reason.
pub fn name_of(answerable: Answerable<'_>) -> String {
    match answerable {
        Answerable::Process(process) => {
            // A row sums up all threads.
            let mut process = process.clone();
            process.thread_comm = Default::default();
            process_name(&process)
        }
        Answerable::Nobody(reason) => format!("({})", reason.word()),
        Answerable::Unknown => "-".to_owned(),
    }
}

/// Container or unit.
fn place(row: &ProcessRow) -> String {
    let place = row.process.as_ref().and_then(Process::place);
    match place.map(|place| (&place.container_id, &place.unit)) {
        Some((Some(id), _)) => format!("container {}", escape(&short_id(id))),
        Some((None, Some(unit))) => escape(unit),
        Some((None, None)) | None => String::new(),
    }
}

/// As much of a container's id as its tools show; a name is kept as it is. A recording may contain anything.
pub fn short_id(id: &str) -> String {
    const SHOWN_DIGITS: usize = 12;
    match id.len() {
        CONTAINER_ID_DIGITS => id.chars().take(SHOWN_DIGITS).collect(),
        _ => id.to_owned(),
    }
}

fn cells(
    name: String,
    counts: &Counts,
    failures: u64,
    is_lower_bound: bool,
    place: String,
) -> [String; 11] {
    [
        name,
        count(counts.time_wait.of(Side::Client), is_lower_bound),
        count(counts.time_wait.of(Side::Server), is_lower_bound),
        count(counts.time_wait.of(Side::Unknown), is_lower_bound),
        count(counts.fin_wait2.total(), is_lower_bound),
        count(counts.overflow.total(), is_lower_bound),
        reasons(&counts.reset_sent, is_lower_bound),
        reasons(&counts.reset_received, is_lower_bound),
        reasons(&counts.abort, is_lower_bound),
        count(failures, is_lower_bound),
        place,
    ]
}
