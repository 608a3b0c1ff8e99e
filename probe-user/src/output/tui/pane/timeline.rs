//! Rates of the host over time, one line of bars each.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use twtrace_core::event::quantity;

use super::super::app::App;
use super::super::cells::{CellAlign, put};
use super::super::history::Point;
use super::super::layout::Pane;
use super::{frame, rate};

/// Columns left of the bars.
const LABEL: u16 = 13;
/// Columns right of them: the newest and the maximum.
const FIGURES: u16 = 19;
const BARS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// One rate over time.
struct RateRow {
    label: &'static str,
    of: fn(&Point) -> f64,
    style: Style,
}

pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width.saturating_sub(LABEL + FIGURES));
    let span_ns = columns as u64 * app.span() as u64 * 1_000_000_000;
    let title = format!(
        "Rates a second, the last {}, a column {}s (t)",
        quantity::duration(span_ns),
        app.span()
    );
    let inner = frame(app, Pane::Timeline, area, buffer, &title);
    let theme = app.theme;
    let all = [
        RateRow {
            label: "TIME_WAIT",
            of: |point| point.time_waits,
            style: theme.time_wait(),
        },
        RateRow {
            label: "RST sent",
            of: |point| point.resets_sent,
            style: theme.reset(),
        },
        RateRow {
            label: "RST received",
            of: |point| point.resets_received,
            style: theme.reset(),
        },
        RateRow {
            label: "port alloc",
            of: |point| point.searches,
            style: theme.port(),
        },
        RateRow {
            label: "no port",
            of: |point| point.failures,
            style: theme.bad(),
        },
    ];
    let few = [
        RateRow {
            label: "TIME_WAIT",
            of: |point| point.time_waits,
            style: theme.time_wait(),
        },
        RateRow {
            label: "RST",
            of: |point| point.resets_sent + point.resets_received,
            style: theme.reset(),
        },
        RateRow {
            label: "port alloc",
            of: |point| point.searches,
            style: theme.port(),
        },
    ];
    let rows: &[RateRow] = if usize::from(inner.height) >= all.len() {
        &all
    } else {
        &few[..few.len().min(usize::from(inner.height))]
    };
    if rows.is_empty() {
        return;
    }
    let height = inner.height / rows.len() as u16;
    // The first row gets the rest.
    let mut y = inner.y;
    for (index, row) in rows.iter().enumerate() {
        let height = match index {
            0 => inner.height - height * (rows.len() as u16 - 1),
            _ => height,
        };
        draw_row(app, row, Rect::new(inner.x, y, inner.width, height), buffer);
        y += height;
    }
}

fn draw_row(app: &App, row: &RateRow, area: Rect, buffer: &mut Buffer) {
    let width = area.width.saturating_sub(LABEL + FIGURES);
    let history = &app.shown().history;
    let values = history.columns(row.of, app.span(), usize::from(width));
    let highest = values.iter().copied().fold(0.0, f64::max);
    let base = area.bottom() - 1;
    // One eighth less than available, so that the highest bar does not touch the bars above.
    let full = area.height * 8 - 1;
    put(
        buffer,
        (area.x, base),
        LABEL - 1,
        row.label,
        CellAlign::Left,
        app.theme.plain(),
    );
    // The newest is on the right.
    let first = area.x + LABEL + width - values.len() as u16;
    for (x, value) in (first..).zip(&values) {
        // Values above zero are always visible.
        let eighths = if *value > 0.0 {
            ((value / highest * f64::from(full)).round() as u16).max(1)
        } else {
            0
        };
        for up in 0..area.height {
            let part = eighths.saturating_sub(up * 8).min(8);
            if part > 0 {
                put(
                    buffer,
                    (x, base - up),
                    1,
                    BARS[usize::from(part)],
                    CellAlign::Left,
                    row.style,
                );
            }
        }
    }
    let now = history.last().map(|point| (row.of)(&point));
    let figures = match now {
        Some(now) => format!("{} max {}", rate(now), rate(highest)),
        None => "-".to_owned(),
    };
    put(
        buffer,
        (area.x + LABEL + width + 1, base),
        FIGURES - 1,
        &figures,
        CellAlign::Right,
        app.theme.plain(),
    );
}
