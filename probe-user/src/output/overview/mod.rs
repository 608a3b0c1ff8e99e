//! `twtrace report` without options: about one screen, the most important first.

mod ports;
mod quality;
mod resets;
mod time_waits;
mod totals;

use std::collections::BTreeSet;
use std::fmt::Write;

use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::event::Timestamp;
use twtrace_core::event::quantity;
use twtrace_core::event::text::escape;
use twtrace_core::filter::Filter;
use twtrace_core::model::audit;
use twtrace_core::model::groups::{self, GroupBy, GroupLabel, PairGroup};
use twtrace_core::model::report::Report;

use super::coverage;
use super::page::Page;
use super::table::grid::Grid;
use super::table::names::{self, HOST};
use super::table::{self, SHOWN, budgets};
use super::wrap;

/// Rows of a table where the screen has few lines, and elsewhere.
const FEW_ROWS: usize = 5;
const MANY_ROWS: usize = 10;
/// Lines of a screen that has room for the larger number.
const TALL: usize = 40;

/// What the overview shows.
#[derive(Clone, Copy, Debug)]
pub struct Overview<'a> {
    pub report: &'a Report,
    /// The findings about it.
    pub diagnosis: &'a Diagnosis,
    /// The filter that everything passed.
    pub filter: &'a Filter,
    /// Maximum number of rows of a table; `None`: as the page has room.
    pub max_rows: Option<usize>,
    /// What it is printed to.
    pub page: Page,
}

/// Its parts, from the rows that several of them need.
struct Parts<'a> {
    overview: &'a Overview<'a>,
    /// Figures by command and destination.
    pairs: Vec<PairGroup>,
    /// The network namespaces that rows are of.
    namespaces: BTreeSet<(u32, u32)>,
}

/// The text.
pub fn render(overview: &Overview<'_>) -> String {
    let report = overview.report;
    let pairs = groups::pairs(&report.pairs, GroupBy::Name);
    let pools = budgets::worth(report, SHOWN).into_iter();
    let namespaces = pairs.iter().map(|row| (row.netns, row.netns_nth));
    let namespaces = namespaces
        .chain(pools.map(|row| (row.netns, report.last_nth(row.netns))))
        .collect();
    let parts = Parts {
        overview,
        pairs,
        namespaces,
    };
    let mut text = heading(overview, &parts.only_netns());
    worst(&mut text, overview);
    text.push('\n');
    text.push_str(&totals::render(overview));
    parts.table(
        &mut text,
        "WHO CREATES TIME_WAIT, TOWARDS WHOM",
        parts.time_waits(),
    );
    parts.table(&mut text, "RESETS AND ABORTED CONNECTIONS", parts.resets());
    parts.table(&mut text, "EPHEMERAL PORTS, FULLEST FIRST", parts.ports());
    text.push('\n');
    data_quality(&mut text, overview);
    text.push_str("More: twtrace doctor, --by process|name|unit|pair|budget, --top N, --details\n");
    text
}

/// The requested tables below what was measured, and above how far it can be trusted.
pub fn with_tables(overview: &Overview<'_>, tables: &str) -> String {
    let mut text = heading(overview, "");
    // Writing to a String does not fail.
    let _ = write!(text, "\n{tables}\n");
    data_quality(&mut text, overview);
    text
}

/// A warning if the figures are not reliable; then what was measured.
fn heading(overview: &Overview<'_>, netns: &str) -> String {
    let report = overview.report;
    let mut text = String::new();
    if let Some(warning) = audit::warning(&report.audit) {
        overview.line(&mut text, ("", 0), &warning);
    }
    overview.line(&mut text, ("", 0), &(head(report) + netns));
    if let Some(history) = &report.history {
        text.push_str(&coverage::line(history, report.end));
    }
    text
}

fn data_quality(text: &mut String, overview: &Overview<'_>) {
    const LABEL: &str = "Data quality: ";
    overview.line(text, (LABEL, LABEL.len()), &quality::line(overview));
}

impl Overview<'_> {
    /// Appends a line, or several if a terminal is narrower: all but the first are indented by the width of `first`.
    fn line(&self, text: &mut String, first: (&str, usize), words: &str) {
        wrap::append_after(text, first, words, self.page.width.unwrap_or(usize::MAX));
    }
}

/// What was measured, where and when: `web-1 · Linux 6.18 · 2026-11-30 17:32:00–17:32:13 UTC · 12.6s`.
fn head(report: &Report) -> String {
    format!(
        "{} · Linux {} · {} · {}",
        escape(&report.host),
        escape(&report.kernel),
        span(report.start, report.end),
        quantity::duration(report.duration_ns)
    )
}

/// `2026-11-30 17:32:00–17:32:13 UTC`, with both days if it is more than one.
pub fn span(start: Timestamp, end: Timestamp) -> String {
    let (start, end) = (start.to_string(), end.to_string());
    // RFC 3339, always UTC.
    let parts = |text: &str| -> Option<(String, String)> {
        let (day, time) = text.split_once('T')?;
        Some((day.to_owned(), time.get(..8)?.to_owned()))
    };
    match (parts(&start), parts(&end)) {
        (Some((day, from)), Some((last, to))) if day == last => format!("{day} {from}–{to} UTC"),
        (Some((day, from)), Some((last, to))) => format!("{day} {from} – {last} {to} UTC"),
        _ => format!("{start} – {end}"),
    }
}

/// The worst finding, and how many there are.
fn worst(text: &mut String, overview: &Overview<'_>) {
    let findings = &overview.diagnosis.findings;
    let Some(worst) = findings.first() else {
        text.push_str("No findings\n");
        return;
    };
    let severity = format!("{}  ", overview.page.severity(worst.severity));
    let indent = worst.severity.word().len() + 2;
    let title = format!("{} (finding 1 of {})", escape(&worst.title), findings.len());
    overview.line(text, (&severity, indent), &title);
}

/// Maximum number of rows of a table, if no other number is requested.
pub fn rows_of(page: Page) -> usize {
    match page.height {
        Some(lines) if lines < TALL => FEW_ROWS,
        _ => MANY_ROWS,
    }
}

impl Parts<'_> {
    /// Maximum number of rows of a table.
    fn max_rows(&self) -> usize {
        let requested = self.overview.max_rows;
        requested.unwrap_or(rows_of(self.overview.page))
    }

    /// A table with its heading; nothing if it has no rows.
    fn table<const N: usize>(&self, text: &mut String, heading: &str, grid: Grid<N>) {
        if grid.is_empty() {
            return;
        }
        let page = self.overview.page;
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n{}\n{}",
            page.bold(heading),
            grid.fitted(page.width)
        );
    }

    /// The only namespace that connections were seen in, if it is not the host's.
    fn only_netns(&self) -> String {
        let mut namespaces = self.namespaces.iter();
        let (Some((netns, nth)), None) = (namespaces.next(), namespaces.next()) else {
            return String::new();
        };
        match names::short(self.overview.report, *netns, *nth).as_str() {
            HOST => String::new(),
            name => format!(" · all in netns {name}"),
        }
    }

    /// The cell of the column NETNS: empty if all rows are of one namespace.
    fn netns(&self, netns: u32, nth: u32) -> String {
        if self.namespaces.len() > 1 {
            names::short(self.overview.report, netns, nth)
        } else {
            String::new()
        }
    }
}

/// A group of processes.
fn name(label: &GroupLabel) -> String {
    table::groups::label(label, GroupBy::Name)
}

/// Their number; empty without any.
fn processes(count: usize) -> String {
    table::count(count as u64, false)
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;
