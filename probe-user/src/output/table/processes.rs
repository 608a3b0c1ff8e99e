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
use super::{SHOWN, by_reason, count};
use crate::output::lines::process_name;

/// The table, or a sentence without events.
pub fn render(report: &Report) -> String {
    let grid = grid(report);
    if grid.is_empty() {
        "no TIME_WAIT, reset or abort\n".to_owned()
    } else {
        grid.to_string()
    }
}

/// The table.
pub fn grid(report: &Report) -> Grid<10> {
    let rows: Vec<&ProcessRow> = report
        .processes
        .iter()
        .filter(|row| !row.counts.is_empty())
        .collect();
    let at_least = !report.exact.processes;
    let mut grid = Grid::new(&[
        ("PROCESS", Align::Left),
        ("TW CLIENT", Align::Right),
        ("TW SERVER", Align::Right),
        ("TW UNKNOWN", Align::Right),
        ("OF THESE FIN_WAIT2", Align::Right),
        ("OVERFLOW", Align::Right),
        ("RST SENT", Align::Left),
        ("RST RECEIVED", Align::Left),
        ("ABORTS", Align::Left),
        ("RUNS IN", Align::Left),
    ]);
    let shown = rows.len().min(SHOWN);
    for row in &rows[..shown] {
        grid.row(cells(name(row), &row.counts, at_least, place(row)));
    }
    let others = &rows[shown..];
    if !others.is_empty() {
        let mut counts = Counts::default();
        for row in others {
            counts.add_all(&row.counts);
        }
        let name = format!("({} others)", others.len());
        grid.row(cells(name, &counts, at_least, "-".to_owned()));
    }
    grid
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
        Some((None, None)) | None => "-".to_owned(),
    }
}

/// As much of a container's id as its tools show; a name is kept as it is. A recording may contain anything.
fn short_id(id: &str) -> String {
    const SHOWN_DIGITS: usize = 12;
    match id.len() {
        CONTAINER_ID_DIGITS => id.chars().take(SHOWN_DIGITS).collect(),
        _ => id.to_owned(),
    }
}

fn cells(name: String, counts: &Counts, at_least: bool, place: String) -> [String; 10] {
    [
        name,
        count(counts.time_wait.of(Side::Client), at_least),
        count(counts.time_wait.of(Side::Server), at_least),
        count(counts.time_wait.of(Side::Unknown), at_least),
        count(counts.fin_wait2.total(), at_least),
        count(counts.overflow.total(), at_least),
        by_reason(&counts.reset_sent, at_least),
        by_reason(&counts.reset_received, at_least),
        by_reason(&counts.abort, at_least),
        place,
    ]
}
