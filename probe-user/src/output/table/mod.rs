//! The tables of `report`.

pub mod grid;

pub mod audit;
pub mod budgets;
pub mod close_wait;
pub mod destinations;
pub mod ends;
pub mod groups;
pub mod lost;
pub mod memory;
pub mod names;
pub mod ports;
pub mod processes;
pub mod reuse;
pub mod rows;
mod stacks;

use std::fmt::Write;

use clap::ValueEnum;
use twtrace_core::event::counts_by;
use twtrace_core::event::quantity;
use twtrace_core::event::words::Word;
use twtrace_core::model::budget::row::BudgetRow;
use twtrace_core::model::groups::GroupBy;
use twtrace_core::model::report::Report;

use super::{tiers, wrap};
pub use rows::SortBy;

/// Maximum number of rows of a table; the rest is summed up in one.
pub const SHOWN: usize = 20;
/// Instead of a table without rows.
const NOTHING: &str = "no TIME_WAIT, reset or abort\n";

/// A table that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Grouping {
    /// Single processes, with their port allocations, ends and reuse of TIME_WAIT.
    Process,
    /// Commands of one name.
    Name,
    /// systemd services and scopes.
    Unit,
    /// Containers.
    Container,
    /// Kubernetes pods.
    Pod,
    /// Single processes with each destination.
    Pair,
    /// Remote address and port of clients, local port of servers.
    Destination,
    /// Ephemeral ports, by source address and destination.
    Budget,
    /// User stacks of processes, with --stacks.
    Stack,
}

/// How tables are shown.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions {
    /// Maximum number of rows; the rest is summed up in one.
    pub max_rows: usize,
    /// Order of the rows.
    pub sort: SortBy,
    /// Characters in a line; `None`: any number.
    pub width: Option<usize>,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            max_rows: SHOWN,
            sort: SortBy::default(),
            width: None,
        }
    }
}

/// The requested tables of a report, and losses; all tables, and what hooks can't see, if none is requested.
pub fn render(report: &Report, asked: &[Grouping], options: TableOptions) -> String {
    let has = |by: Grouping| asked.is_empty() || asked.contains(&by);
    let width = options.width;
    let mut text = String::new();
    for (grouping, heading, by) in [
        (Grouping::Name, "By command", GroupBy::Name),
        (Grouping::Unit, "By systemd unit", GroupBy::Unit),
        (Grouping::Container, "By container", GroupBy::Container),
        (Grouping::Pod, "By pod", GroupBy::Pod),
    ] {
        if asked.contains(&grouping) {
            let grid = groups::grid(report, by, options);
            section(&mut text, heading, &or_nothing(&grid, options));
        }
    }
    if asked.contains(&Grouping::Pair) {
        let grid = groups::pairs(report, options);
        section(
            &mut text,
            "By process and destination",
            &or_nothing(&grid, options),
        );
    }
    if has(Grouping::Process) {
        section(&mut text, "By process", &processes::render(report, options));
        section(
            &mut text,
            "Ephemeral port allocations, by process",
            &ports::render(report, options.max_rows, width),
        );
        section(
            &mut text,
            if report.sees_ends() {
                "How TIME_WAIT sockets ended, by the process that created them"
            } else {
                "Inferred ends of TIME_WAIT sockets, by the process that created them"
            },
            &ends::render(report, width),
        );
        section(
            &mut text,
            "Reuse of TIME_WAIT sockets, by the process that connects",
            &reuse::by_process(report, width),
        );
    }
    section(
        &mut text,
        "By process and stack, innermost function first",
        &stacks(report, asked.contains(&Grouping::Stack), width),
    );
    if has(Grouping::Destination) {
        section(
            &mut text,
            "By destination",
            &destinations::render(report, options),
        );
        section(
            &mut text,
            "Reuse of TIME_WAIT sockets, by destination",
            &reuse::by_destination(report, width),
        );
    }
    if has(Grouping::Budget) {
        section(
            &mut text,
            "Ephemeral ports, by source and destination",
            &budgets::render(report, asked.contains(&Grouping::Budget), options),
        );
    }
    if asked.is_empty() {
        section(
            &mut text,
            "CLOSE_WAIT at the end: closed by the peer, not by the process",
            &close_wait::render(report, width),
        );
        section(
            &mut text,
            "Network namespaces without CLOSE_WAIT figures",
            &close_wait::unscanned(report, width),
        );
        section(
            &mut text,
            "Memory of TIME_WAIT sockets, whole host",
            &memory::render(report, width),
        );
        section(
            &mut text,
            "Network namespaces",
            &names::render(report, width),
        );
        section(
            &mut text,
            "Comparison with the kernel's own counters",
            &audit::render(report, width),
        );
        section(
            &mut text,
            "Degraded hooks, and what they miss",
            &tiers::losses(&report.tiers),
        );
    }
    section(
        &mut text,
        "Events lost, and programs skipped",
        &lost::render(report, width),
    );
    match width {
        Some(width) => wrapped(&text, width),
        None => text,
    }
}

/// Stacks whenever they were recorded; a sentence if they were requested and not recorded.
fn stacks(report: &Report, is_asked_for: bool, page_width: Option<usize>) -> String {
    match &report.stacks {
        None if is_asked_for => "not recorded: --stacks\n".to_owned(),
        _ => stacks::render(report, page_width),
    }
}

/// The table of stacks with its heading; empty if none were recorded.
pub fn stack_section(report: &Report, page_width: Option<usize>) -> String {
    let mut text = String::new();
    section(
        &mut text,
        "By process and stack, innermost function first",
        &stacks::render(report, page_width),
    );
    text
}

/// The table, or a sentence without rows.
fn or_nothing<const N: usize>(grid: &grid::Grid<N>, options: TableOptions) -> String {
    if grid.is_empty() {
        NOTHING.to_owned()
    } else {
        grid.fitted(options.width)
    }
}

/// Losses by probe, and runs of programs that the kernel skipped.
pub fn lost(report: &Report) -> String {
    lost::render(report, None)
}

/// A port pool in one line.
pub fn budget_line(row: &BudgetRow) -> String {
    budgets::line(row)
}

/// The same with sentences in several lines where they are too long. Lines of tables already fit.
fn wrapped(text: &str, page_width: usize) -> String {
    let mut whole = String::new();
    for line in text.lines() {
        wrap::append(&mut whole, "", line, page_width);
    }
    whole
}

/// Adds nothing for a section without text.
fn section(text: &mut String, heading: &str, body: &str) {
    if body.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    // Writing to a String does not fail.
    let _ = write!(text, "{heading}\n{body}");
}

/// Such as `linger_zero 20, refused 3`, or `-`.
pub fn by_reason<T: Word + PartialEq, const N: usize>(
    numbers: &counts_by::CountsBy<T, N>,
    is_lower_bound: bool,
) -> String {
    let words: Vec<String> = numbers
        .counted()
        .map(|(member, number)| format!("{} {}", member.word(), count(number, is_lower_bound)))
        .collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

/// A number with thousands separated, marked if it is a lower bound; empty for 0.
pub fn count(number: u64, is_lower_bound: bool) -> String {
    match number {
        0 => String::new(),
        _ => at_least(quantity::count(number), is_lower_bound),
    }
}

/// The same as [`by_reason`], but empty for none.
fn reasons<T: Word + PartialEq, const N: usize>(
    numbers: &counts_by::CountsBy<T, N>,
    is_lower_bound: bool,
) -> String {
    match numbers.total() {
        0 => String::new(),
        _ => by_reason(numbers, is_lower_bound),
    }
}

/// The first cell of the row that sums up the others.
fn more(rows: usize) -> String {
    format!("({} more)", quantity::count(rows as u64))
}

/// The same for a number as text.
pub fn at_least(number: String, is_lower_bound: bool) -> String {
    if is_lower_bound {
        format!("≥{number}")
    } else {
        number
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
