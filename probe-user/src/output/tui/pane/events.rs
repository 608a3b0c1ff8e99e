//! The newest events, one per line as in `trace`.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use twtrace_core::event::text::escape;
use twtrace_core::event::{Event, EventFacts, PortResult};
use twtrace_wire::EventKind;

use super::super::app::App;
use super::super::cells::{Cell, CellAlign, Column, table};
use super::super::layout::Pane;
use super::super::tail::NumberedEvent;
use super::{frame, nothing, window};
use crate::output::lines;

const fn column(heading: &'static str, width: u16, align: CellAlign) -> Column {
    Column {
        heading,
        width,
        align,
    }
}

/// Columns of [`lines::cells`], if there is room.
const ALL: [Column; 7] = [
    column("TIME (UTC)", 15, CellAlign::Left),
    column("EVENT", 18, CellAlign::Left),
    column("PROCESS", 24, CellAlign::Left),
    column("SIDE", 7, CellAlign::Left),
    column("LOCAL", 24, CellAlign::Ends),
    column("REMOTE", 24, CellAlign::Ends),
    column("DETAILS", 0, CellAlign::Left),
];
/// For a narrow terminal: indexes into the same cells.
const FEW: [(usize, Column); 5] = [
    (0, column("TIME", 8, CellAlign::Left)),
    (1, column("EVENT", 13, CellAlign::Left)),
    (2, column("PROCESS", 16, CellAlign::Left)),
    (5, column("REMOTE", 18, CellAlign::Ends)),
    (6, column("DETAILS", 0, CellAlign::Left)),
];
/// From this width on, all columns fit.
const WIDE: u16 = 150;

/// Draws the pane from row `offset` on.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer, offset: usize) {
    let events = app.events();
    let height = usize::from(area.height).saturating_sub(2);
    let count = app.shown().tail.count();
    let title = format!(
        "Events ({}; {count} since the start)",
        window(offset, height, events.len())
    );
    let inner = frame(app, Pane::Events, area, buffer, &title);
    let selected = app.index(Pane::Events);
    let chosen: Vec<(usize, Column)> = if area.width >= WIDE {
        ALL.into_iter().enumerate().collect()
    } else {
        FEW.to_vec()
    };
    let columns: Vec<Column> = chosen.iter().map(|(_, column)| *column).collect();
    table(
        buffer,
        inner,
        &columns,
        |_| (app.theme.heading(), ""),
        events
            .iter()
            .enumerate()
            .skip(offset)
            .take(height)
            .map(|(index, numbered)| {
                let is_selected = index == selected && app.focus == Pane::Events;
                (
                    cells(app, numbered, &chosen),
                    is_selected.then(|| app.theme.selected()),
                )
            }),
    );
    if events.is_empty() {
        nothing(app, inner, buffer, "no event yet");
    }
}

fn cells(app: &App, numbered: &NumberedEvent, chosen: &[(usize, Column)]) -> Vec<Cell> {
    let texts = lines::cells(&numbered.event);
    let style = style(app, &numbered.event);
    chosen
        .iter()
        .map(|(index, _)| match (index, &numbered.host) {
            (2, Some(host)) => (format!("{}:{}", escape(host), texts[2]), app.theme.plain()),
            (1, _) => (texts[1].clone(), style),
            (0, _) if chosen.len() < ALL.len() => (seconds(&texts[0]), app.theme.plain()),
            (index, _) => (texts[*index].clone(), app.theme.plain()),
        })
        .collect()
}

/// `12:34:56` from `12:34:56.123456`.
fn seconds(time: &str) -> String {
    time.split('.').next().unwrap_or(time).to_owned()
}

fn style(app: &App, event: &Event) -> Style {
    match (&event.facts, event.event) {
        (_, EventKind::TimeWaitOverflow) => app.theme.bad(),
        (EventFacts::PortAlloc(facts), _) if facts.result != PortResult::Ok => app.theme.bad(),
        (EventFacts::NoAddress(_), _) => app.theme.bad(),
        (EventFacts::PortAlloc(_), _) => app.theme.port(),
        (EventFacts::TimeWait(_), _) => app.theme.time_wait(),
        (EventFacts::TimeWaitEnd(_), _) => app.theme.dim(),
        _ => app.theme.reset(),
    }
}
