//! Draws the parts of the screen, one per file. They read the state and do not change it.

pub mod destinations;
pub mod detail;
pub mod events;
pub mod findings;
pub mod footer;
pub mod header;
pub mod notes;
pub mod overlay;
pub mod processes;
pub mod status;
pub mod timeline;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use twtrace_core::model::report::Report;
use unicode_width::UnicodeWidthStr;

use super::app::App;
use super::cells::{Cell, CellAlign, Column, put, table};
use super::layout::{MIN_HEIGHT, MIN_WIDTH, Pane};
use super::sort::{SortBy, SortOrder};

/// Text with a style.
type Part = (String, Style);

/// Draws a pane's title as a line across it; returns the area below.
fn frame(app: &App, pane: Pane, area: Rect, buffer: &mut Buffer, title: &str) -> Rect {
    if area.is_empty() {
        return area;
    }
    let has_focus = app.focus == pane && pane.takes_keys() && app.overlay.is_none();
    let (mark, style) = if has_focus {
        ("▶ ", app.theme.focused())
    } else {
        ("─ ", app.theme.title())
    };
    rule(app, area, buffer, mark, title, style)
}

fn rule(app: &App, area: Rect, buffer: &mut Buffer, mark: &str, title: &str, style: Style) -> Rect {
    let end = area.right();
    let (x, _) = buffer.set_stringn(area.x, area.y, mark, usize::from(area.width), style);
    let (x, _) = buffer.set_stringn(x, area.y, title, usize::from(end - x), style);
    let line = format!(" {}", "─".repeat(usize::from(end - x).saturating_sub(1)));
    buffer.set_stringn(x, area.y, line, usize::from(end - x), app.theme.dim());
    Rect::new(area.x, area.y + 1, area.width, area.height - 1)
}

/// Draws parts from the left, as far as they fit. Returns the next column.
fn parts(buffer: &mut Buffer, area: Rect, parts: &[Part]) -> u16 {
    let mut x = area.x;
    for (text, style) in parts {
        let room = area.right() - x;
        put(buffer, (x, area.y), room, text, CellAlign::Left, *style);
        x += room.min(text.width() as u16);
    }
    x
}

/// A rate such as `0`, `1.5`, `230` or `12.3k`.
fn rate(per_s: f64) -> String {
    match per_s {
        0.0 => "0".to_owned(),
        _ if per_s < 9.95 => format!("{per_s:.1}"),
        _ if per_s < 9_999.5 => format!("{per_s:.0}"),
        _ if per_s < 999_950.0 => format!("{:.1}k", per_s / 1e3),
        _ => format!("{:.1}M", per_s / 1e6),
    }
}

/// A rate, or `-` if there is none yet.
fn rate_or_dash(per_s: Option<f64>) -> String {
    per_s.map_or_else(|| "-".to_owned(), rate)
}

/// A number in at most six columns, such as `123456`, `1234k` or `12.3M`.
fn number(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..10_000_000 => format!("{}k", number / 1_000),
        _ => format!("{:.1}M", number as f64 / 1e6),
    }
}

/// A number, marked if it is a lower bound.
fn at_least(count: u64, is_exact: bool) -> String {
    if is_exact {
        number(count)
    } else {
        format!("≥{}", number(count))
    }
}

/// The shown report; `None` before the first sample.
fn report(app: &App) -> Option<&Report> {
    app.shown().sample.as_ref().map(|sample| &sample.report)
}

/// A table sorted by a column. `rows` begin at `offset`.
fn sortable<T: SortBy, const N: usize>(
    app: &App,
    pane: Pane,
    (area, buffer): (Rect, &mut Buffer),
    (columns, order): (&[(Column, Option<T>); N], SortOrder<T>),
    rows: impl Iterator<Item = Vec<Cell>>,
    offset: usize,
) {
    let selected = app.index(pane);
    table(
        buffer,
        area,
        &columns.map(|(column, _)| column),
        |index| match order.mark(columns[index].1) {
            Some(mark) => (app.theme.sorted(), mark),
            None => (app.theme.heading(), ""),
        },
        (offset..).zip(rows).map(|(index, cells)| {
            let is_selected = index == selected && app.focus == pane;
            (cells, is_selected.then(|| app.theme.selected()))
        }),
    );
}

/// The text below a title if there are no rows.
fn nothing(app: &App, area: Rect, buffer: &mut Buffer, text: &str) {
    let y = area.y.saturating_add(1);
    if y < area.bottom() {
        put(
            buffer,
            (area.x + 2, y),
            area.width.saturating_sub(2),
            text,
            CellAlign::Left,
            app.theme.dim(),
        );
    }
}

/// `3-9 of 120`, if not all rows fit.
fn window(offset: usize, height: usize, length: usize) -> String {
    if length > height {
        format!(
            "{}-{} of {length}",
            offset + 1,
            (offset + height).min(length)
        )
    } else {
        length.to_string()
    }
}

/// Shown instead of everything if the terminal is too small.
pub fn too_small(buffer: &mut Buffer, area: Rect) {
    let lines = [
        "twtrace top needs".to_owned(),
        format!("{MIN_WIDTH}x{MIN_HEIGHT}; this is"),
        format!("{}x{}. q quits", area.width, area.height),
    ];
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        put(
            buffer,
            (area.x, y),
            area.width,
            &line,
            CellAlign::Left,
            Style::new(),
        );
    }
}
