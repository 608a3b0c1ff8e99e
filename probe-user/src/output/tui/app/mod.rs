//! The state of the view: `act` handles keys, `selection` tracks the selected rows, `draw` renders it.

mod act;
mod draw;
mod selection;

use ratatui::layout::Rect;
use twtrace_core::doctor::finding::Finding;
use twtrace_core::event::comm::Comm;
use twtrace_core::event::{Event, Timestamp};
use twtrace_core::filter::Filter;
use twtrace_core::model::report::Report;

use super::filter_line::{FilterLine, Parse};
use super::layout::Pane;
use super::live::LiveState;
use super::sort::{ByDestination, ByProcess, SortOrder};
use super::tail::NumberedEvent;
use super::theme::Theme;
use super::view::{DestinationItem, ProcessItem, Scope, View};

/// Steps of a replay's speed, as multiples of real time.
const SPEEDS: [f64; 11] = [
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 1_000.0,
];
/// Index of real time.
const REAL_TIME: usize = 3;
/// Nanoseconds per second.
const SECOND_NS: i64 = 1_000_000_000;
/// Samples per column of the timeline.
const SPANS: [usize; 3] = [1, 5, 30];

/// What does not change while the view is open.
#[derive(Clone, Debug)]
pub struct ViewOptions {
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// The span of a replay; `None` for a live view.
    pub replay: Option<ReplaySpan>,
    /// Whether colours may be used.
    pub has_colour: bool,
    /// Filters of the command line, already applied to events and samples; empty for none.
    pub filter_words: String,
    /// Parses a filter that the user types: see [`crate::cli::display_filter`].
    pub parse_filter: Parse,
}

/// First and last time of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaySpan {
    /// Time of the first event.
    pub start: Timestamp,
    /// Time of the last event.
    pub end: Timestamp,
}

/// A snapshot of all figures; rates are differences between two of these.
#[derive(Clone, Debug)]
pub struct ReportSample {
    /// Wall clock.
    pub ts: Timestamp,
    /// CLOCK_MONOTONIC of the traced host, nanoseconds.
    pub mono_ns: u64,
    /// Cumulative, from the start of tracing to `ts`.
    pub report: Report,
    /// The doctor's findings about it, the worst first.
    pub findings: Vec<Finding>,
}

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Quit,
    /// Restore the terminal, stop as with Ctrl-Z, and return.
    Suspend,
    /// Forget the terminal's contents, and draw everything again.
    Redraw,
    /// Enable or disable mouse reports of the terminal.
    Mouse(bool),
    /// Pause or continue a replay. In a live view only the screen is frozen, and the caller does nothing.
    Pause(bool),
    /// Replay this many times as fast as it happened.
    Speed(f64),
    /// Continue from this many nanoseconds later, or earlier.
    Seek(i64),
}

/// What covers the panes.
#[derive(Clone, Debug)]
pub(super) enum Overlay {
    Help,
    Integrity,
    Finding(Box<Finding>),
    Event(Box<NumberedEvent>),
}

/// The view.
#[derive(Debug)]
pub struct App {
    pub(super) options: ViewOptions,
    pub(super) theme: Theme,
    live: LiveState,
    /// What is shown while the screen is frozen.
    frozen: Option<Box<LiveState>>,
    pub(super) view: View,
    pub(super) scope: Scope,
    pub(super) focus: Pane,
    pub(super) is_zoomed: bool,
    pub(super) overlay: Option<Overlay>,
    pub(super) typing: Option<FilterLine>,
    pub(super) filter: Filter,
    pub(super) filter_words: String,
    pub(super) process_order: SortOrder<ByProcess>,
    pub(super) destination_order: SortOrder<ByDestination>,
    /// Whether rows of processes are commands.
    pub(super) is_by_command: bool,
    /// The command whose process is open.
    opened_command: Option<Comm>,
    process_at: Option<ProcessItem>,
    destination_at: Option<DestinationItem>,
    /// Number of the selected event; `None` for the newest.
    event_at: Option<u64>,
    finding_at: usize,
    /// First visible row by pane, and of the overlay.
    offsets: [usize; Pane::COUNT],
    overlay_offset: usize,
    /// Number of visible rows when last drawn.
    heights: [usize; Pane::COUNT],
    /// Positions of panes when last drawn.
    places: Vec<(Pane, Rect)>,
    span: usize,
    pub(super) is_paused: bool,
    speed: usize,
    has_mouse: bool,
    /// The last message of the program's log, and the number of messages.
    pub(super) message: Option<(String, u64)>,
    is_dirty: bool,
}

impl App {
    /// A view without samples.
    pub fn new(options: ViewOptions) -> Self {
        Self {
            theme: Theme {
                has_colour: options.has_colour,
            },
            options,
            live: LiveState::default(),
            frozen: None,
            view: View::default(),
            scope: Scope::All,
            focus: Pane::Processes,
            is_zoomed: false,
            overlay: None,
            typing: None,
            filter: Filter::default(),
            filter_words: String::new(),
            process_order: SortOrder::default(),
            destination_order: SortOrder::default(),
            is_by_command: true,
            opened_command: None,
            process_at: None,
            destination_at: None,
            event_at: None,
            finding_at: 0,
            offsets: [0; Pane::COUNT],
            overlay_offset: 0,
            heights: [1; Pane::COUNT],
            places: Vec::new(),
            span: 0,
            is_paused: false,
            speed: REAL_TIME,
            has_mouse: false,
            message: None,
            is_dirty: true,
        }
    }

    /// Takes an event that passes the filters of the command line, and its host if there are several. Cheap: only
    /// visible events are formatted.
    pub fn event(&mut self, event: &Event, host: Option<&str>) {
        self.live.event(event, host);
        self.is_dirty |= self.frozen.is_none();
    }

    /// Takes a sample. If it is earlier than the last one, a replay went back.
    pub fn sample(&mut self, sample: ReportSample) {
        self.live.sample(sample);
        if self.frozen.is_none() {
            self.refresh();
        }
    }

    /// Takes a line that would otherwise be written to stderr.
    pub fn log(&mut self, line: &str) {
        let count = self.message.as_ref().map_or(0, |(_, count)| *count);
        self.message = Some((line.to_owned(), count + 1));
        self.is_dirty = true;
    }

    /// Whether something changed since the last drawing.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// The terminal was resized, or overwritten.
    pub fn resized(&mut self) {
        self.is_dirty = true;
    }

    /// The shown state: the current one, or the one when the screen was frozen.
    pub(super) fn shown(&self) -> &LiveState {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    /// Number of events since the screen was frozen.
    pub(super) fn held_back(&self) -> u64 {
        self.live.tail.count() - self.shown().tail.count()
    }

    /// As a multiple of real time.
    pub(super) fn speed(&self) -> f64 {
        SPEEDS[self.speed]
    }

    /// Samples per column of the timeline.
    pub(super) fn span(&self) -> usize {
        SPANS[self.span]
    }

    pub(super) fn is_replay(&self) -> bool {
        self.options.replay.is_some()
    }

    /// The events that are in scope and pass the filter, the oldest first.
    pub(super) fn events(&self) -> Vec<&NumberedEvent> {
        self.shown()
            .tail
            .iter()
            .filter(|numbered| {
                self.scope.has(&numbered.event) && self.filter.matches(&numbered.event)
            })
            .collect()
    }

    fn refresh(&mut self) {
        self.is_dirty = true;
        let view = View::of(
            self.shown(),
            self.scope,
            &self.filter,
            self.is_by_command,
            self.process_order,
            self.destination_order,
        );
        self.view = view;
    }
}
