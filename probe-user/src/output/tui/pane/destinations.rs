//! By destination: TIME_WAITs, and free ephemeral ports.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use twtrace_core::event::quantity;
use twtrace_core::event::words::Word;
use twtrace_core::model::budget::row::{BudgetRow, Outlook};
use twtrace_core::model::report::Report;

use super::super::app::App;
use super::super::cells::{Cell, CellAlign, Column};
use super::super::layout::Pane;
use super::super::sort::ByDestination;
use super::super::theme::Theme;
use super::super::view::{DestinationItem, DestinationLine, Scope};
use super::{at_least, frame, nothing, rate_or_dash, report, sortable, window};

/// Width of a bar, columns.
const BAR: usize = 10;
/// Eighths of a column.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// Part of the ports that is a warning: connect() has used up the half that it tries first.
const HALF: f64 = 0.5;
/// Part of the ports that needs action.
const NEARLY_FULL: f64 = 0.8;

const fn column(heading: &'static str, width: u16, align: CellAlign) -> Column {
    Column {
        heading,
        width,
        align,
    }
}

const COLUMNS: [(Column, Option<ByDestination>); 9] = [
    (
        column("DESTINATION", 0, CellAlign::Ends),
        Some(ByDestination::Name),
    ),
    (column("SIDE", 6, CellAlign::Left), None),
    (
        column("TW/s", 6, CellAlign::Right),
        Some(ByDestination::Rate),
    ),
    (
        column("CREATED", 7, CellAlign::Right),
        Some(ByDestination::TimeWaits),
    ),
    (
        column("RST", 6, CellAlign::Right),
        Some(ByDestination::Resets),
    ),
    (column("PORTS USED", BAR as u16, CellAlign::Left), None),
    (column("%", 5, CellAlign::Right), Some(ByDestination::Used)),
    (
        column("FULL IN", 8, CellAlign::Right),
        Some(ByDestination::Left),
    ),
    (
        column("FAIL", 6, CellAlign::Right),
        Some(ByDestination::Failures),
    ),
];

/// Draws the pane from row `offset` on.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer, offset: usize) {
    let lines = &app.view.destinations;
    let height = usize::from(area.height).saturating_sub(2);
    let of = match app.scope {
        Scope::Process(_) => " of this process, from events",
        Scope::Command(_) => " of this command, from events",
        _ => " and port pools",
    };
    let title = format!("Destinations{of} ({})", window(offset, height, lines.len()));
    let inner = frame(app, Pane::Destinations, area, buffer, &title);
    let Some(report) = report(app) else {
        return;
    };
    let visible = lines.iter().skip(offset).take(height);
    let rows = visible.map(|line| cells(app, report, line));
    sortable(
        app,
        Pane::Destinations,
        (inner, buffer),
        (&COLUMNS, app.destination_order),
        rows,
        offset,
    );
    if lines.is_empty() {
        nothing(app, inner, buffer, "no destination yet");
    }
}

fn cells(app: &App, report: &Report, line: &DestinationLine) -> Vec<Cell> {
    let theme = app.theme;
    let is_exact = report.exact.destinations
        && (!matches!(app.scope, Scope::Process(_) | Scope::Command(_))
            || app.shown().towards.left_out() == 0);
    let budget = line.budget.and_then(|index| report.budgets.get(index));
    let count = |number: u64, style: Style| match number {
        0 if is_exact => ("0".to_owned(), theme.dim()),
        number => (at_least(number, is_exact), style),
    };
    let (bar, used, style) = match budget.and_then(BudgetRow::used) {
        Some(used) => {
            let style = fullness(theme, used);
            (bar(used), format!("{:.0}%", used * 100.0), style)
        }
        None => ("-".to_owned(), "-".to_owned(), theme.dim()),
    };
    let (left, left_style) = left(theme, budget);
    vec![
        (name(&line.target), theme.plain()),
        (side(&line.target).to_owned(), theme.dim()),
        match line.rate {
            Some(per_s) if per_s > 0.0 => (rate_or_dash(line.rate), theme.time_wait()),
            _ => (rate_or_dash(line.rate), theme.dim()),
        },
        count(line.time_waits, theme.plain()),
        count(line.resets, theme.reset()),
        (bar, style),
        (used, style),
        (left, left_style),
        count(line.failures, theme.bad()),
    ]
}

fn fullness(theme: Theme, used: f64) -> Style {
    match used {
        _ if used >= NEARLY_FULL => theme.bad(),
        _ if used >= HALF => theme.warning(),
        _ => theme.good(),
    }
}

/// `███▌······`
fn bar(used: f64) -> String {
    let eighths = (used.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(EIGHTHS[eighths % 8]);
    let filled = eighths.div_ceil(8);
    bar.push_str(&"·".repeat(BAR - filled));
    bar
}

fn left(theme: Theme, budget: Option<&BudgetRow>) -> (String, Style) {
    let Some(budget) = budget else {
        return ("-".to_owned(), theme.dim());
    };
    match (budget.outlook, budget.full_in_ns) {
        (Outlook::Full, _) => ("FULL".to_owned(), theme.bad()),
        (Outlook::RunsOut, Some(ns)) => (quantity::duration(ns), theme.warning()),
        (Outlook::RunsOut, None) | (Outlook::Never, _) => ("never".to_owned(), theme.dim()),
        (Outlook::Unknown, _) => ("?".to_owned(), theme.dim()),
    }
}

/// In the form of `--remote` and `--local`.
pub fn name(target: &DestinationItem) -> String {
    match target {
        DestinationItem::Destination(key) => key.destination.to_string(),
        DestinationItem::Pool { source, .. } => match source {
            Some(source) => format!("any, bound to {source}"),
            None => "any, bound before".to_owned(),
        },
    }
}

fn side(target: &DestinationItem) -> &'static str {
    match target {
        DestinationItem::Destination(key) => match key.side.word() {
            "unknown" => "-",
            word => word,
        },
        DestinationItem::Pool { .. } => "client",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_they_say() {
        assert_eq!(bar(0.0), "··········");
        assert_eq!(bar(0.25), "██▌·······");
        assert_eq!(bar(1.0), "██████████");
        assert_eq!(bar(7.0), "██████████");
    }
}
