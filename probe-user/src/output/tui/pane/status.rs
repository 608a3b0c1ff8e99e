//! The second line: what was lost, tiers of hooks, the audit. Always in sight, and in words.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::app::App;
use super::{Part, parts, report};
use crate::model::audit::AuditRow;
use crate::model::report::Report;

/// Draws it.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = app.look;
    let Some(report) = report(app) else {
        parts(
            buffer,
            area,
            &[("waiting for the first sample".to_owned(), look.dim())],
        );
        return;
    };
    let between = || (" │ ".to_owned(), look.dim());
    parts(
        buffer,
        area,
        &[
            lost(app, report),
            between(),
            tiers(app, report),
            between(),
            audit(app, report),
            (" (i)".to_owned(), look.dim()),
        ],
    );
}

fn lost(app: &App, report: &Report) -> Part {
    let events: u64 = report
        .lost
        .iter()
        .filter(|row| row.probe.is_event())
        .map(|row| row.count)
        .sum();
    let all: u64 = report.lost.iter().map(|row| row.count).sum();
    match (all, events) {
        (0, _) => ("lost: nothing".to_owned(), app.look.good()),
        (all, events) if all == events => (format!("LOST: {events} events"), app.look.bad()),
        (all, events) => (
            format!("LOST: {events} events, {} other facts", all - events),
            app.look.bad(),
        ),
    }
}

fn tiers(app: &App, report: &Report) -> Part {
    let lesser: Vec<&str> = report
        .tiers
        .iter()
        .filter(|choice| choice.lost.is_some())
        .map(|choice| choice.question.name())
        .collect();
    match lesser.len() {
        0 => ("tiers: the best".to_owned(), app.look.good()),
        count => (
            format!("tiers: {count} of {} degraded", report.tiers.len()),
            app.look.warning(),
        ),
    }
}

fn audit(app: &App, report: &Report) -> Part {
    let loud: Vec<&AuditRow> = report.audit.iter().filter(|row| !row.is_quiet()).collect();
    let births: u64 = loud.iter().map(|row| row.births_seen).sum();
    let sum = |differences: [Option<i64>; 2]| -> u64 {
        let known = differences.into_iter().flatten();
        known.map(i64::unsigned_abs).sum()
    };
    let resets_off: u64 = loud
        .iter()
        .map(|row| sum([row.resets_sent_difference, None]))
        .sum();
    let off: u64 = loud
        .iter()
        .map(|row| sum([row.difference, row.overflow_difference]))
        .sum();
    let margin: u64 = loud
        .iter()
        .map(|row| row.uncertainty + row.overflow_uncertainty + row.resets_sent_uncertainty)
        .sum();
    let resets: u64 = loud.iter().filter_map(|row| row.resets_sent_seen).sum();
    let unaudited = loud.iter().filter(|row| !row.audited).count();
    let mut text = match (off, resets_off) {
        _ if loud.is_empty() => {
            return ("audit: nothing to compare yet".to_owned(), app.look.dim());
        }
        (0, 0) => format!("audit: 0 off of {births} births"),
        (off, 0) => format!("AUDIT: OFF BY {off} of {births} births"),
        (0, resets_off) => format!("AUDIT: OFF BY {resets_off} of {resets} RSTs sent"),
        (off, resets_off) => {
            format!("AUDIT: OFF BY {off} of {births} births, {resets_off} of {resets} RSTs")
        }
    };
    let off = off + resets_off;
    if margin > 0 && off > 0 {
        text.push_str(&format!(" ({margin} in flight)"));
    }
    if unaudited > 0 {
        text.push_str(&format!(", {unaudited} namespaces unaudited"));
    }
    let is_off = loud.iter().any(|row| row.is_off());
    let style = match (is_off, unaudited > 0 || off > 0) {
        (true, _) => app.look.bad(),
        (false, true) => app.look.warning(),
        (false, false) => app.look.good(),
    };
    (text, style)
}
