//! The first line: host, time, and whether the view is paused.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use twtrace_core::event::quantity;
use twtrace_core::event::text::escape;

use super::super::app::App;
use super::super::cells::{CellAlign, put};
use super::{parts, report};

pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme;
    let mut line = vec![
        ("twtrace top".to_owned(), theme.focused()),
        (
            format!(
                "  {}  Linux {}",
                escape(&app.options.host),
                escape(&app.options.kernel)
            ),
            theme.plain(),
        ),
    ];
    if let (Some(sample), Some(report)) = (&app.shown().sample, report(app)) {
        let time = sample.ts.time_of_day_us();
        // Microseconds are not useful here.
        let seconds = time.split('.').next().unwrap_or(&time).to_owned();
        line.push((
            format!(
                "  {seconds} UTC  traced for {}",
                quantity::duration(report.duration_ns)
            ),
            theme.plain(),
        ));
    }
    if !app.options.filter_words.is_empty() {
        line.push((
            format!("  only {}", escape(&app.options.filter_words)),
            theme.warning(),
        ));
    }
    if report(app).is_some_and(|report| report.audit_off > 0) {
        // The second line has the difference.
        line.insert(1, ("  COUNTERS DIFFER".to_owned(), theme.bad()));
    }
    let (state, style) = state(app);
    let width = state.chars().count() as u16 + 1;
    let left = Rect::new(area.x, area.y, area.width.saturating_sub(width), 1);
    parts(buffer, left, &line);
    put(
        buffer,
        (left.right(), area.y),
        width,
        &state,
        CellAlign::Right,
        style,
    );
}

fn state(app: &App) -> (String, ratatui::style::Style) {
    let theme = app.theme;
    if let Some(span) = app.options.replay {
        let whole = span.end.0.saturating_sub(span.start.0).max(1);
        let at = app.shown().sample.as_ref().map_or(span.start, |it| it.ts);
        let part = at.0.saturating_sub(span.start.0).min(whole) as f64 / whole as f64;
        let mark = if app.is_paused { "‖ paused" } else { "▶" };
        return (
            format!(
                "REPLAY {mark} x{} {:.0}% of {}",
                app.speed(),
                part * 100.0,
                quantity::duration(whole)
            ),
            theme.focused(),
        );
    }
    if app.is_paused {
        (
            format!("PAUSED, {} events since", app.held_back()),
            theme.warning(),
        )
    } else {
        ("live".to_owned(), theme.good())
    }
}
