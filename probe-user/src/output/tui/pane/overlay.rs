//! Overlays over the panes: help, losses, one finding, one event.

use ratatui::style::Style;
use twtrace_core::doctor::finding::Finding;
use twtrace_core::event::Process;
use twtrace_core::event::text::escape;
use twtrace_core::model::audit::AuditRow;

use super::super::app::{App, Overlay};
use super::super::keys;
use super::super::tail::NumberedEvent;
use super::findings::severity;
use super::notes::Note;
use super::report;
use crate::output::lines;
use crate::output::table;
use crate::output::tiers;

pub fn title(overlay: &Overlay) -> &'static str {
    match overlay {
        Overlay::Help => "Keys (Esc: back)",
        Overlay::Integrity => "Data quality: losses, hooks, the kernel's counters (Esc: back)",
        Overlay::Finding(_) => "Doctor (Esc: back)",
        Overlay::Event(_) => "Event (Esc: back)",
    }
}

/// Its text.
pub fn notes(app: &App, overlay: &Overlay) -> Vec<Note> {
    match overlay {
        Overlay::Help => help(app),
        Overlay::Integrity => integrity(app),
        Overlay::Finding(finding) => of_finding(app, finding),
        Overlay::Event(numbered) => of_event(app, numbered),
    }
}

pub fn note(label: &str, text: impl Into<String>, style: Style) -> Note {
    Note {
        label: label.to_owned(),
        text: text.into(),
        style,
    }
}

fn help(app: &App) -> Vec<Note> {
    let plain = app.theme.plain();
    let mut notes: Vec<Note> = keys::bindings(app.is_replay())
        .map(|binding| note(binding.shown, binding.help, plain))
        .collect();
    for (label, text) in [
        ("", ""),
        (
            "columns",
            "TW/s: TIME_WAIT sockets created per second, CLIENT and SERVER: by side; ALIVE: created and not ended; RST>/s and RST</s: sent and received; PORT/s: ephemeral port allocations; P99: the slowest operation's 99th percentile; FAIL: allocations that found no port",
        ),
        (
            "signs",
            "≥ at least, events were lost; ≤ at most; ~ presumed; - not known",
        ),
        (
            "filter",
            "--pid 12 --comm nginx --container ID --pod UID --unit 'my*' --local :80 --remote 10.0.0.0/8 --netns NAME --side client --event reset; each may be repeated",
        ),
    ] {
        notes.push(note(label, text, plain));
    }
    notes
}

/// Adds the lines of a text of another output.
fn block(notes: &mut Vec<Note>, label: &str, text: &str, style: Style) {
    for (index, line) in text.lines().enumerate() {
        // Tables are aligned by blanks, which wrapping keeps.
        notes.push(note(if index == 0 { label } else { "" }, line, style));
    }
    notes.push(note("", "", style));
}

fn integrity(app: &App) -> Vec<Note> {
    let plain = app.theme.plain();
    let Some(report) = report(app) else {
        return vec![note("", "waiting for the first sample", plain)];
    };
    let mut notes = Vec::new();
    block(&mut notes, "lost", &table::lost(report), plain);
    let degraded = tiers::losses(&report.tiers);
    let tiers = if degraded.is_empty() {
        "every capability uses the best hooks"
    } else {
        &degraded
    };
    block(&mut notes, "hooks", tiers, plain);
    for row in report.audit.iter().filter(|row| !row.is_quiet()) {
        notes.push(note("counters", audit_line(row), plain));
    }
    if report.audit.iter().all(AuditRow::is_quiet) {
        notes.push(note("counters", "nothing to compare yet", plain));
    }
    let left_out = app.shown().towards.left_out();
    if left_out > 0 {
        let text =
            format!("{left_out} events found no room in the table by process and destination");
        notes.push(note("left out", text, app.theme.warning()));
    }
    for (what, rows) in [
        ("port pools", &report.budgets_unknown),
        ("CLOSE_WAIT", &report.unscanned),
    ] {
        for row in rows {
            let text = format!("unknown in namespace {}: {}", row.netns, escape(&row.why));
            notes.push(note(what, text, app.theme.warning()));
        }
    }
    notes
}

/// Seen, compared with the kernel's own counters.
fn audit_line(row: &AuditRow) -> String {
    let known = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |it| it.to_string());
    let signed = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |it| it.to_string());
    let mut line = format!(
        "namespace {}: {} TIME_WAITs seen, kernel {} (difference {}); {} refused, kernel {} (difference {}); \
         {} RSTs sent, kernel {} (difference {}); {} connections reset, kernel {} (difference {}); \
         {} inferred; {} ended (difference of those that exist {}); {} reused, kernel {}",
        table::names::shown_netns(row.netns, row.netns_nth),
        row.births_seen,
        known(row.births_kernel),
        signed(row.difference),
        row.overflow_seen,
        known(row.overflow_kernel),
        signed(row.overflow_difference),
        known(row.resets_sent_seen),
        known(row.resets_sent_kernel),
        signed(row.resets_sent_difference),
        row.connections_reset_seen,
        known(row.connections_reset_kernel),
        signed(row.connections_reset_difference),
        row.inferred,
        known(row.ends_seen),
        signed(row.alive_difference),
        known(row.reused_seen),
        known(row.reused_kernel)
    );
    for why in [&row.why, &row.resets_sent_why].into_iter().flatten() {
        line.push_str("; ");
        line.push_str(&escape(why));
    }
    line
}

fn of_finding(app: &App, finding: &Finding) -> Vec<Note> {
    let theme = app.theme;
    let mut notes = vec![
        note(
            &finding.severity.word().to_uppercase(),
            format!("{} [{}]", escape(&finding.title), finding.id),
            severity(theme, finding.severity),
        ),
        note("", "", theme.plain()),
    ];
    for (label, sentences) in [
        ("evidence", &finding.evidence),
        ("do", &finding.to_do),
        ("do not", &finding.do_not),
    ] {
        for (index, sentence) in sentences.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            notes.push(note(
                label,
                format!("- {}", escape(sentence)),
                theme.plain(),
            ));
        }
        if !sentences.is_empty() {
            notes.push(note("", "", theme.plain()));
        }
    }
    notes
}

fn of_event(app: &App, numbered: &NumberedEvent) -> Vec<Note> {
    let plain = app.theme.plain();
    let event = &numbered.event;
    let [_, kind, process, side, local, remote, details] = lines::cells(event);
    let mut notes = vec![
        note("event", kind, app.theme.focused()),
        note("time", event.ts.to_string(), plain),
    ];
    if let Some(host) = &numbered.host {
        notes.push(note("host", escape(host), plain));
    }
    notes.push(note("process", process, plain));
    of_process(app, &mut notes, event.process.as_ref());
    if let Some(opener) = &event.opener {
        notes.push(note("opener", lines::process_name(opener), plain));
    }
    let netns = event.netns.map(|netns| netns.to_string());
    for (label, text) in [
        ("side", side),
        ("local", local),
        ("remote", remote),
        ("netns", netns.unwrap_or_else(|| "-".to_owned())),
        ("details", details),
    ] {
        notes.push(note(label, text, plain));
    }
    notes
}

/// Details of a process besides its name.
pub fn of_process(app: &App, notes: &mut Vec<Note>, process: Option<&Process>) {
    let Some(process) = process else {
        return;
    };
    let details = process.details.as_deref();
    let place = details.and_then(|details| details.cgroup.as_ref());
    for (label, text) in [
        ("uid", process.uid.map(|uid| uid.to_string())),
        ("exe", details.and_then(|details| details.exe.clone())),
        ("cgroup", place.map(|place| place.path.clone())),
        ("unit", place.and_then(|place| place.unit.clone())),
        (
            "container",
            place.and_then(|place| place.container_id.clone()),
        ),
        ("pod", place.and_then(|place| place.pod_uid.clone())),
    ] {
        if let Some(text) = text {
            notes.push(note(label, escape(&text), app.theme.plain()));
        }
    }
}
