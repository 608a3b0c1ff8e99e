//! Layout of the screen.

use ratatui::layout::Rect;

use super::view::Scope;

/// Minimum width of the terminal, columns.
pub const MIN_WIDTH: u16 = 80;
/// Minimum height of the terminal, rows.
pub const MIN_HEIGHT: u16 = 24;
/// From this width on, panes are side by side.
const WIDE: u16 = 160;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// Rates over time.
    Timeline,
    /// By process.
    Processes,
    /// By destination, with port pools.
    Destinations,
    /// The newest events.
    Events,
    /// The doctor's findings.
    Findings,
    /// Details of one process or destination.
    Detail,
}

impl Pane {
    /// Number of panes.
    pub const COUNT: usize = 6;

    /// Whether it has rows to select.
    pub const fn takes_keys(self) -> bool {
        !matches!(self, Self::Timeline)
    }

    /// Number of rows for title and headings.
    pub const fn rows_above(self) -> usize {
        match self {
            Self::Processes | Self::Destinations | Self::Events => 2,
            Self::Timeline | Self::Findings | Self::Detail => 1,
        }
    }
}

/// The parts that are always visible.
#[derive(Clone, Copy, Debug)]
pub struct ScreenLayout {
    /// Host and time.
    pub header: Rect,
    /// Losses, tiers, audit.
    pub status: Rect,
    pub body: Rect,
    /// A message of the program's log.
    pub message: Option<Rect>,
    /// Keys, or the filter line.
    pub footer: Rect,
}

/// Whether the terminal is too small to draw.
pub fn is_too_small(area: Rect) -> bool {
    area.width < MIN_WIDTH || area.height < MIN_HEIGHT
}

/// Divides the screen.
pub fn screen(area: Rect, has_message: bool) -> ScreenLayout {
    let row = |y| Rect::new(area.x, y, area.width, 1);
    let below = if has_message { 2 } else { 1 };
    ScreenLayout {
        header: row(area.y),
        status: row(area.y + 1),
        body: Rect::new(area.x, area.y + 2, area.width, area.height - 2 - below),
        message: has_message.then(|| row(area.bottom() - 2)),
        footer: row(area.bottom() - 1),
    }
}

/// The panes of a scope, in the order of Tab.
pub const fn panes(scope: Scope) -> &'static [Pane] {
    match scope {
        Scope::All => &[
            Pane::Timeline,
            Pane::Processes,
            Pane::Destinations,
            Pane::Findings,
            Pane::Events,
        ],
        Scope::Command(_) => &[Pane::Processes, Pane::Destinations, Pane::Events],
        Scope::Process(_) => &[Pane::Detail, Pane::Destinations, Pane::Events],
        Scope::Destination(_) => &[Pane::Detail, Pane::Processes, Pane::Events],
    }
}

/// Places panes in the body.
pub fn places(body: Rect, scope: Scope, focus: Pane, is_zoomed: bool) -> Vec<(Pane, Rect)> {
    if is_zoomed {
        return vec![(focus, body)];
    }
    match (scope, body.width >= WIDE) {
        (Scope::All, true) => side_by_side(body),
        _ => stacked(body, panes(scope), focus),
    }
}

/// One above the other; the focused pane gets more.
fn stacked(body: Rect, panes: &[Pane], focus: Pane) -> Vec<(Pane, Rect)> {
    let is_tall = body.height >= 32;
    // A fixed height, or a share of the rest.
    let fixed = |pane: Pane| match pane {
        Pane::Timeline if is_tall => Some(9),
        Pane::Timeline => Some(4),
        Pane::Findings if pane == focus => Some(body.height / 3),
        Pane::Findings if is_tall => Some(5),
        Pane::Findings => Some(3),
        _ => None,
    };
    let weight = |pane: Pane| match pane {
        _ if pane == focus => 3,
        _ => 2,
    };
    let rest = body.height - panes.iter().filter_map(|pane| fixed(*pane)).sum::<u16>();
    let open: Vec<Pane> = panes
        .iter()
        .copied()
        .filter(|pane| fixed(*pane).is_none())
        .collect();
    let weights: u16 = open.iter().map(|pane| weight(*pane)).sum();
    let mut y = body.y;
    panes
        .iter()
        .map(|pane| {
            let is_last = Some(pane) == panes.last();
            let height = match fixed(*pane) {
                _ if is_last => body.bottom() - y,
                Some(height) => height,
                None => rest * weight(*pane) / weights,
            };
            let place = Rect::new(body.x, y, body.width, height);
            y += height;
            (*pane, place)
        })
        .collect()
}

/// Timeline and findings, below them processes and destinations, then events.
fn side_by_side(body: Rect) -> Vec<(Pane, Rect)> {
    const GAP: u16 = 2;
    let left = body.width / 2;
    let right = body.width - left - GAP;
    let top = (body.height / 4).clamp(5, 13);
    let middle = (body.height - top) * 5 / 9;
    let bottom = body.height - top - middle;
    let at_right = body.x + left + GAP;
    vec![
        (Pane::Timeline, Rect::new(body.x, body.y, left, top)),
        (Pane::Findings, Rect::new(at_right, body.y, right, top)),
        (
            Pane::Processes,
            Rect::new(body.x, body.y + top, left, middle),
        ),
        (
            Pane::Destinations,
            Rect::new(at_right, body.y + top, right, middle),
        ),
        (
            Pane::Events,
            Rect::new(body.x, body.y + top + middle, body.width, bottom),
        ),
    ]
}
