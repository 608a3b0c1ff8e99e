//! Memory of TIME_WAITs: a line for the host, then the processes with the largest share.

use twtrace_core::event::quantity::bytes;
use twtrace_core::event::text::escape;
use twtrace_core::model::memory::{CacheRow, Memory, ShareRow};
use twtrace_core::model::report::Report;

use super::grid::{Align, Grid, text};
use super::processes::name_of;
use super::{SHOWN, count, more};

/// Such as `tw_sock_TCP 80 of 256B = 20.0KiB, tcp_bind_bucket not known: …`, with the sum of mini-sockets before it.
pub fn render(report: &Report, page_width: Option<usize>) -> String {
    format!("{}\n{}", in_words(report), text(&grid(report), page_width))
}

/// The line for the host.
pub fn in_words(report: &Report) -> String {
    let memory = &report.memory;
    let sum = match memory.time_wait_bytes {
        Some(sum) => format!("{} in mini-sockets", bytes(sum)),
        None => "not known".to_owned(),
    };
    let caches: Vec<String> = memory.caches.iter().map(cache).collect();
    format!("{sum} ({})", caches.join(", "))
}

/// The processes with the largest share.
pub fn grid(report: &Report) -> Grid<4> {
    let memory = &report.memory;
    let shares: &[ShareRow] = memory.processes.as_deref().unwrap_or_default();
    let at_least = !report.exact.processes;
    let mut grid = Grid::new(&[
        ("PROCESS", Align::Cut),
        ("TIME_WAIT NOW", Align::Right),
        ("MEMORY", Align::Right),
        ("SHARE", Align::Right),
    ]);
    let shown = shares.len().min(SHOWN);
    for share in &shares[..shown] {
        let name = name_of(share.answerable());
        grid.row(cells(name, share.alive, share.bytes, memory, at_least));
    }
    let others = &shares[shown..];
    if !others.is_empty() {
        let alive = others.iter().map(|share| share.alive).sum();
        let sum = others.iter().filter_map(|share| share.bytes).sum();
        // Either all of them are known, or none.
        let sum = others[0].bytes.map(|_| sum);
        let name = more(others.len());
        grid.row(cells(name, alive, sum, memory, at_least));
    }
    grid
}

fn cells(
    name: String,
    alive: u64,
    size: Option<u64>,
    memory: &Memory,
    at_least: bool,
) -> [String; 4] {
    let share = match (size, memory.time_wait_bytes) {
        (Some(size), Some(all)) if all > 0 => percent(size, all),
        _ => "-".to_owned(),
    };
    let size = size.map_or_else(|| "-".to_owned(), bytes);
    [name, count(alive, at_least), size, share]
}

/// A part of a whole that is not 0.
fn percent(part: u64, all: u64) -> String {
    match u128::from(part) * 100 / u128::from(all) {
        0 if part > 0 => "<1%".to_owned(),
        percent => format!("{}%", percent.min(100)),
    }
}

fn cache(row: &CacheRow) -> String {
    let figures = (row.active_objects, row.object_bytes, row.held_bytes);
    match (figures, &row.why) {
        ((Some(objects), Some(size), Some(held)), _) => format!(
            "{}: {objects} of {}, {} held",
            escape(&row.name),
            bytes(size),
            bytes(held)
        ),
        (_, Some(why)) => format!("{}: {}", escape(&row.name), escape(why)),
        (_, None) => format!("{}: -", escape(&row.name)),
    }
}
