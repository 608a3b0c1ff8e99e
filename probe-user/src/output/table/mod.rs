//! The tables of `report`.

pub mod grid;

mod audit;
mod close_wait;
mod destinations;
mod lost;
mod memory;
mod ports;
mod processes;

use std::fmt::Write;

use super::quantity;
use super::tiers;
use crate::event::words::Word;
use crate::model::counts::By;
use crate::model::report::Report;

/// Rows that a table shows; the rest is summed up in one.
const SHOWN: usize = 20;

/// All tables of a report.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    section(
        &mut text,
        &format!(
            "{} on {} (Linux {}), from {}",
            quantity::duration(report.duration_ns),
            super::text::escape(&report.host),
            super::text::escape(&report.kernel),
            report.start
        ),
        &tiers::losses(&report.tiers),
    );
    section(&mut text, "By process", &processes::render(report));
    section(
        &mut text,
        "Searches for a local port, by process",
        &ports::render(report),
    );
    section(&mut text, "By destination", &destinations::render(report));
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
        &memory::render(&report.memory),
    );
    section(
        &mut text,
        "Audit: births of TIME_WAIT seen, against the kernel's own counters",
        &audit::render(report),
    );
    section(&mut text, "Lost", &lost::render(report));
    text
}

/// Nothing for a section without text, unless it stands at the top.
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

/// `linger_zero 20, refused 3`, or `-`.
fn by_reason<T: Word + PartialEq, const N: usize>(numbers: &By<T, N>, at_least: bool) -> String {
    let words: Vec<String> = numbers
        .counted()
        .map(|(member, number)| format!("{} {}", member.word(), count(number, at_least)))
        .collect();
    match words.is_empty() {
        true => "-".to_owned(),
        false => words.join(", "),
    }
}

/// A number, marked where it is a lower bound.
fn count(number: u64, at_least: bool) -> String {
    match at_least {
        true => format!("≥{number}"),
        false => number.to_string(),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
