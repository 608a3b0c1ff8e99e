//! The second line: losses, degraded hooks, the difference to the kernel's counters. Always visible, and in words.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use twtrace_core::model::audit::{AuditRow, COMPARED};
use twtrace_core::model::report::Report;

use super::super::app::App;
use super::{Part, parts, report};

pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme;
    let Some(report) = report(app) else {
        parts(
            buffer,
            area,
            &[("waiting for the first sample".to_owned(), theme.dim())],
        );
        return;
    };
    let between = || (" │ ".to_owned(), theme.dim());
    parts(
        buffer,
        area,
        &[
            lost(app, report),
            between(),
            tiers(app, report),
            between(),
            audit(app, report),
            (" (i)".to_owned(), theme.dim()),
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
        (0, _) => ("lost: nothing".to_owned(), app.theme.good()),
        (all, events) if all == events => (format!("LOST: {events} events"), app.theme.bad()),
        (all, events) => (
            format!("LOST: {events} events, {} details", all - events),
            app.theme.bad(),
        ),
    }
}

fn tiers(app: &App, report: &Report) -> Part {
    let degraded: Vec<&str> = report
        .tiers
        .iter()
        .filter(|choice| choice.lost.is_some())
        .map(|choice| choice.question.name())
        .collect();
    match degraded.len() {
        0 => ("hooks: the best".to_owned(), app.theme.good()),
        count => (
            format!("hooks: {count} of {} degraded", report.tiers.len()),
            app.theme.warning(),
        ),
    }
}

fn audit(app: &App, report: &Report) -> Part {
    let loud: Vec<&AuditRow> = report.audit.iter().filter(|row| !row.is_quiet()).collect();
    let births: u64 = loud.iter().map(|row| row.births_seen).sum();
    if loud.is_empty() {
        return (
            "kernel's counters: nothing to compare yet".to_owned(),
            app.theme.dim(),
        );
    }
    let unaudited = loud.iter().filter(|row| !row.audited).count();
    let mut parts = Vec::new();
    let (mut off, mut margin) = (0, 0);
    for (index, what) in COMPARED.into_iter().enumerate() {
        let differences = loud.iter().map(|row| row.compared()[index]);
        let (amount, uncertainty) = differences.fold((0, 0), |(sum, margin), (one, more)| {
            (sum + one.map_or(0, i64::unsigned_abs), margin + more)
        });
        if amount > 0 {
            parts.push(format!("{amount} {what}"));
            off += amount;
            margin += uncertainty;
        }
    }
    let mut text = if parts.is_empty() {
        format!("matches the kernel: {births} TIME_WAITs")
    } else {
        format!("KERNEL DIFFERS: {}", parts.join(", "))
    };
    if margin > 0 {
        text.push_str(&format!(" ({margin} in flight)"));
    }
    if unaudited > 0 {
        let plural = if unaudited == 1 { "" } else { "s" };
        text.push_str(&format!(", {unaudited} namespace{plural} not compared"));
    }
    let is_off = loud.iter().any(|row| row.is_off());
    let style = match (is_off, unaudited > 0 || off > 0) {
        (true, _) => app.theme.bad(),
        (false, true) => app.theme.warning(),
        (false, false) => app.theme.good(),
    };
    (text, style)
}
