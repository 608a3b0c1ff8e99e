//! The doctor's findings, one per line; Enter shows the details.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use twtrace_core::doctor::finding::Severity;
use twtrace_core::event::text::escape;

use super::super::app::App;
use super::super::cells::{CellAlign, put};
use super::super::layout::Pane;
use super::super::theme::Theme;
use super::{frame, window};

/// Width of a severity, columns.
const SEVERITY: u16 = 9;

/// Draws the pane from row `offset` on.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer, offset: usize) {
    let findings = match &app.shown().sample {
        Some(sample) => sample.findings.as_slice(),
        None => &[],
    };
    let height = usize::from(area.height).saturating_sub(1);
    let title = if findings.is_empty() {
        "Doctor".to_owned()
    } else {
        format!(
            "Doctor ({}; Enter: what to do)",
            window(offset, height, findings.len())
        )
    };
    let inner = frame(app, Pane::Findings, area, buffer, &title);
    let selected = app.index(Pane::Findings);
    for (y, (index, finding)) in
        (inner.top()..inner.bottom()).zip(findings.iter().enumerate().skip(offset))
    {
        put(
            buffer,
            (inner.x, y),
            SEVERITY - 1,
            &finding.severity.word().to_uppercase(),
            CellAlign::Left,
            severity(app.theme, finding.severity),
        );
        put(
            buffer,
            (inner.x + SEVERITY, y),
            inner.width.saturating_sub(SEVERITY),
            &escape(&finding.title),
            CellAlign::Left,
            app.theme.plain(),
        );
        if index == selected && app.focus == Pane::Findings {
            buffer.set_style(Rect::new(inner.x, y, inner.width, 1), app.theme.selected());
        }
    }
    if findings.is_empty() && !inner.is_empty() {
        put(
            buffer,
            (inner.x + 2, inner.y),
            inner.width.saturating_sub(2),
            "no findings so far",
            CellAlign::Left,
            app.theme.good(),
        );
    }
}

/// Style of a severity.
pub fn severity(theme: Theme, severity: Severity) -> Style {
    match severity {
        Severity::Critical => theme.bad(),
        Severity::Warning => theme.warning(),
        Severity::Notice => theme.plain(),
    }
}
