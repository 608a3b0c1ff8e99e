//! The tables of `report`.

pub mod grid;

pub mod audit;
pub mod budgets;
pub mod close_wait;
pub mod destinations;
pub mod ends;
pub mod lost;
pub mod memory;
pub mod names;
pub mod ports;
pub mod processes;
pub mod reuse;
mod stacks;

use std::fmt::Write;

use clap::ValueEnum;
use twtrace_core::event::counts_by;
use twtrace_core::event::quantity;
use twtrace_core::event::words::Word;
use twtrace_core::model::audit::warning;
use twtrace_core::model::budget::row::BudgetRow;
use twtrace_core::model::report::Report;

use super::coverage;
use super::tiers;

/// Maximum number of rows of a table; the rest is summed up in one.
const SHOWN: usize = 20;

/// A table that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Grouping {
    /// Processes, and their searches for ports.
    Process,
    /// Remote address and port of clients, local port of servers.
    Destination,
    /// Local ports left, by source address and destination.
    Budget,
}

/// The requested tables of a report, and losses; all tables if none is requested.
pub fn render(report: &Report, asked: &[Grouping]) -> String {
    let has = |by: Grouping| asked.is_empty() || asked.contains(&by);
    let mut text = String::new();
    if let Some(warning) = warning(&report.audit) {
        text.push_str(&warning);
        text.push('\n');
    }
    let history = report.history.as_ref();
    let history = history.map_or_else(String::new, |it| coverage::line(it, report.end));
    section(
        &mut text,
        &format!(
            "{} on {} (Linux {}), from {}",
            quantity::duration(report.duration_ns),
            twtrace_core::event::text::escape(&report.host),
            twtrace_core::event::text::escape(&report.kernel),
            report.start
        ),
        &(tiers::losses(&report.tiers) + &history),
    );
    if has(Grouping::Process) {
        section(&mut text, "By process", &processes::render(report));
        section(
            &mut text,
            "Searches for a local port, by process",
            &ports::render(report),
        );
        section(
            &mut text,
            if report.sees_ends() {
                "Ends of TIME_WAITs, by the process that made them"
            } else {
                "Presumed ends of TIME_WAITs, by the process that made them"
            },
            &ends::render(report),
        );
        section(
            &mut text,
            "Reuse of TIME_WAITs, by the process that connects",
            &reuse::by_process(report),
        );
    }
    section(
        &mut text,
        "By process and stack, innermost function first",
        &stacks::render(report),
    );
    if has(Grouping::Destination) {
        section(&mut text, "By destination", &destinations::render(report));
        section(
            &mut text,
            "Reuse of TIME_WAITs, by destination",
            &reuse::by_destination(report),
        );
    }
    if has(Grouping::Budget) {
        section(
            &mut text,
            "Local ports left, by source and destination",
            &budgets::render(report, asked.contains(&Grouping::Budget)),
        );
    }
    if asked.is_empty() {
        section(
            &mut text,
            "In CLOSE_WAIT at the end: closed by the peer, not by the process",
            &close_wait::render(report),
        );
        section(
            &mut text,
            "Namespaces that could not be searched for CLOSE_WAIT",
            &close_wait::unscanned(report),
        );
        section(
            &mut text,
            "Memory of TIME_WAIT on the whole host",
            &memory::render(report),
        );
        section(
            &mut text,
            "Names of network namespaces",
            &names::render(report),
        );
        section(
            &mut text,
            "Audit: what was seen, against the kernel's own counters",
            &audit::render(report),
        );
    }
    section(&mut text, "Lost", &lost::render(report));
    text
}

pub fn lost(report: &Report) -> String {
    lost::render(report)
}

/// A port pool in one line.
pub fn budget_line(row: &BudgetRow) -> String {
    budgets::line(row)
}

/// Adds nothing for a section without text, unless it is the first.
fn section(text: &mut String, heading: &str, body: &str) {
    if body.is_empty() && !text.is_empty() {
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
    at_least: bool,
) -> String {
    let words: Vec<String> = numbers
        .counted()
        .map(|(member, number)| format!("{} {}", member.word(), count(number, at_least)))
        .collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

/// A number, marked if it is a lower bound.
fn count(number: u64, at_least: bool) -> String {
    if at_least {
        format!("≥{number}")
    } else {
        number.to_string()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
