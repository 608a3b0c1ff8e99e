//! By process: TIME_WAITs, RSTs, ephemeral port allocations.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use twtrace_core::event::answerable::Answerable;
use twtrace_core::event::quantity;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::model::report::{ProcessRow, Report};
use twtrace_wire::Side;

use super::super::app::App;
use super::super::cells::{Cell, CellAlign, Column};
use super::super::layout::Pane;
use super::super::sort::ByProcess;
use super::super::view::{ProcessLine, Scope};
use super::{at_least, frame, nothing, number, rate_or_dash, report, sortable, window};
use crate::output::lines::process_name;

const fn right(heading: &'static str, width: u16) -> Column {
    Column {
        heading,
        width,
        align: CellAlign::Right,
    }
}

const COLUMNS: [(Column, Option<ByProcess>); 10] = [
    (
        Column {
            heading: "PROCESS",
            width: 0,
            align: CellAlign::Left,
        },
        Some(ByProcess::Name),
    ),
    (right("TW/s", 6), Some(ByProcess::Rate)),
    (right("CLIENT", 6), None),
    (right("SERVER", 6), None),
    (right("ALIVE", 6), Some(ByProcess::Alive)),
    (right("RST>/s", 7), Some(ByProcess::Resets)),
    (right("RST</s", 6), None),
    (right("PORT/s", 7), Some(ByProcess::Searches)),
    (right("P99", 7), Some(ByProcess::P99)),
    (right("FAIL", 5), Some(ByProcess::Failures)),
];

/// Draws the pane from row `offset` on.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer, offset: usize) {
    let lines = &app.view.processes;
    let height = usize::from(area.height).saturating_sub(2);
    let towards = match app.scope {
        Scope::Destination(_) => " of this destination",
        _ if !app.filter.is_by_process() => " of these destinations; figures are of all they do",
        _ => "",
    };
    let sorted = match app.process_order.by {
        ByProcess::Share => ", the largest share of any rate first",
        _ => "",
    };
    let title = format!(
        "{}{towards}{sorted} ({})",
        match app.scope {
            Scope::Command(comm) => format!("Processes of {}", escape(&comm.text())),
            _ if app.is_by_command => "Commands".to_owned(),
            _ => "Processes".to_owned(),
        },
        window(offset, height, lines.len())
    );
    let inner = frame(app, Pane::Processes, area, buffer, &title);
    let Some(report) = report(app) else {
        return;
    };
    let visible = lines.iter().skip(offset).take(height);
    let rows = visible.map(|line| cells(app, report, line));
    sortable(
        app,
        Pane::Processes,
        (inner, buffer),
        (&COLUMNS, app.process_order),
        rows,
        offset,
    );
    if lines.is_empty() {
        nothing(
            app,
            inner,
            buffer,
            "no TIME_WAIT, RST or port allocation yet",
        );
    }
}

fn cells(app: &App, report: &Report, line: &ProcessLine) -> Vec<Cell> {
    let theme = app.theme;
    let row = &report.processes[line.row];
    let rates = line.rates;
    let of = |side| rates.map(|rates| rates.time_waits_of(side));
    let lively = |per_s: Option<f64>, style| match per_s {
        Some(per_s) if per_s > 0.0 => (rate_or_dash(Some(per_s)), style),
        other => (rate_or_dash(other), theme.dim()),
    };
    let alive = match (report.sees_ends(), report.exact.processes) {
        (true, is_exact) => at_least(line.alive, is_exact),
        (false, _) => format!("~{}", number(line.alive)),
    };
    let failures = match line.failures {
        0 => ("0".to_owned(), theme.dim()),
        failures => (at_least(failures, report.exact.processes), theme.bad()),
    };
    vec![
        (of_line(row, line), theme.plain()),
        lively(rates.map(|rates| rates.all_time_waits()), theme.time_wait()),
        lively(of(Side::Client), theme.time_wait()),
        lively(of(Side::Server), theme.time_wait()),
        match line.alive {
            0 => (alive, theme.dim()),
            _ => (alive, theme.plain()),
        },
        lively(rates.map(|rates| rates.resets_sent), theme.reset()),
        lively(rates.map(|rates| rates.resets_received), theme.reset()),
        lively(rates.map(|rates| rates.searches), theme.port()),
        (p99(line.p99), theme.plain()),
        failures,
    ]
}

/// `≤` marks an upper bound.
pub fn p99(p99: Option<(u64, bool)>) -> String {
    match p99 {
        Some((ns, true)) => quantity::duration(ns),
        Some((ns, false)) => format!("≤{}", quantity::duration(ns)),
        None => "-".to_owned(),
    }
}

/// Such as `curl ×40` for a command with several processes.
fn of_line(row: &ProcessRow, line: &ProcessLine) -> String {
    match line.command {
        Some(comm) if line.processes > 1 => {
            format!("{} ×{}", escape(&comm.text()), line.processes)
        }
        _ => name(row),
    }
}

/// Such as `nginx(1234)`, or why there is no process.
pub fn name(row: &ProcessRow) -> String {
    match row.answerable() {
        Answerable::Process(process) => process_name(process),
        Answerable::Nobody(why) => format!("({})", why.word()),
        Answerable::Unknown => "(unknown)".to_owned(),
    }
}
