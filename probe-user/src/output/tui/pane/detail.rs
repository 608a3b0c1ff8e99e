//! Details of the opened process or destination.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use twtrace_core::event::quantity::duration;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::destination::Destination;
use twtrace_core::model::report::{ProcessRow, Report};
use twtrace_wire::ProcessKey;

use super::super::app::App;
use super::super::layout::Pane;
use super::super::towards::DestinationKey;
use super::super::view::{DestinationItem, Scope};
use super::notes::{self, Note};
use super::overlay::{note, of_process};
use super::{destinations, frame, processes, report};
use crate::output::table;

/// Draws the pane from a line on. Returns its first line, which is earlier if there are fewer lines.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer, offset: usize) -> usize {
    let (title, notes) = match (app.scope, report(app)) {
        (Scope::Process(key), Some(report)) => process(app, report, key),
        (Scope::Destination(target), Some(report)) => destination(app, report, target),
        _ => (String::new(), Vec::new()),
    };
    let inner = frame(app, Pane::Detail, area, buffer, &title);
    notes::draw_below(app, inner, buffer, &notes, offset)
}

fn process(app: &App, report: &Report, key: ProcessKey) -> (String, Vec<Note>) {
    let plain = app.theme.plain();
    let Some(row) = report.processes.iter().find(|row| row.key() == key) else {
        let gone = note("", "nothing is counted for it here", plain);
        return (format!("Process {}", key.tgid), vec![gone]);
    };
    let is_exact = report.exact.processes;
    let mut notes = vec![
        note("TIME_WAIT", time_waits(row, is_exact), plain),
        note(
            "ended",
            table::by_reason(&row.counts.ended, !is_exact),
            plain,
        ),
        note(
            "RST sent",
            table::by_reason(&row.counts.reset_sent, !is_exact),
            plain,
        ),
        note(
            "RST received",
            table::by_reason(&row.counts.reset_received, !is_exact),
            plain,
        ),
        note(
            "aborts",
            table::by_reason(&row.counts.abort, !is_exact),
            plain,
        ),
    ];
    if let Some(ages) = row.residence {
        let text = format!(
            "ages of TIME_WAITs that ended: p50 {}, p99 {}, max {}",
            duration(ages.p50_ns),
            duration(ages.p99_ns),
            duration(ages.max_ns)
        );
        notes.push(note("", text, plain));
    }
    for port in &row.ports {
        let bound = |ns: Option<u64>| processes::p99(ns.map(|ns| (ns, port.exact)));
        let text = format!(
            "{} port allocations, {} failed, p50 {}, p99 {}, max {}",
            port.count,
            port.failures,
            bound(port.p50_ns),
            bound(port.p99_ns),
            bound(port.max_ns)
        );
        notes.push(note(port.op.word(), text, plain));
    }
    if !row.reuse.is_empty() {
        let text = format!(
            "{} TIME_WAITs reused by its connect() calls, {} connect() calls found some they could not reuse: {}",
            row.reuse.taken,
            row.reuse.hindered,
            table::by_reason(&row.reuse.refused, !is_exact)
        );
        notes.push(note("reuse", text, plain));
    }
    of_process(app, &mut notes, row.process.as_ref());
    (format!("Process {}", processes::name(row)), notes)
}

fn time_waits(row: &ProcessRow, is_exact: bool) -> String {
    let counts = &row.counts;
    format!(
        "created: {}; began in FIN_WAIT2: {}; refused: {}",
        table::by_reason(&counts.time_wait, !is_exact),
        counts.fin_wait2.total(),
        counts.overflow.total()
    )
}

fn destination(app: &App, report: &Report, target: DestinationItem) -> (String, Vec<Note>) {
    let plain = app.theme.plain();
    let mut notes = Vec::new();
    if let DestinationItem::Destination(key) = target {
        let row = report
            .destinations
            .iter()
            .find(|row| DestinationKey::of(row) == key);
        if let Some(row) = row {
            let at_least = !report.exact.destinations;
            let sign = if at_least { "≥" } else { "" };
            notes.push(note(
                "TIME_WAIT",
                format!(
                    "{} side, created: {sign}{}; began in FIN_WAIT2: {sign}{}; refused: {sign}{}",
                    row.side.word(),
                    row.time_wait,
                    row.fin_wait2,
                    row.overflow
                ),
                plain,
            ));
            let deaths = &row.deaths;
            for (label, text) in [
                ("RST sent", table::by_reason(&deaths.reset_sent, at_least)),
                (
                    "RST received",
                    table::by_reason(&deaths.reset_received, at_least),
                ),
                ("aborts", table::by_reason(&deaths.abort, at_least)),
                ("no port", format!("{sign}{}", row.port_failures)),
            ] {
                notes.push(note(label, text, plain));
            }
            if !row.reuse.is_empty() {
                let text = format!(
                    "{sign}{} TIME_WAITs taken by connects, {sign}{} connect() calls found some they could not reuse: {}",
                    row.reuse.taken,
                    row.reuse.hindered,
                    table::by_reason(&row.reuse.refused, at_least)
                );
                notes.push(note("reuse", text, plain));
            }
        }
        if let Some(netns) = key.netns {
            notes.push(note("netns", table::names::numbered(report, netns), plain));
        }
    }
    for row in &report.budgets {
        let is_its = match target {
            DestinationItem::Destination(key) => match key.destination {
                Destination::Remote(remote) => {
                    Some(row.netns) == key.netns && row.destination == Some(remote)
                }
                _ => false,
            },
            DestinationItem::Pool { netns, source } => {
                row.netns == netns && row.source == source && row.destination.is_none()
            }
        };
        if is_its {
            notes.push(note("local ports", table::budget_line(row), plain));
            if let Some(why) = &row.why {
                notes.push(note("", escape(why), app.theme.warning()));
            }
        }
    }
    (
        format!("Destination {}", destinations::name(&target)),
        notes,
    )
}
