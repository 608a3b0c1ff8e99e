//! The state of the view: `act` is what keys do to it, `selection` which rows are selected, `draw` how it looks.

mod act;
mod draw;
mod selection;

use ratatui::layout::Rect;
use twtrace_core::doctor::finding::Finding;
use twtrace_core::event::{Event, Timestamp};
use twtrace_core::filter::Filter;
use twtrace_core::model::report::Report;
use twtrace_wire::ProcessKey;

use super::filter_line::{FilterLine, Parse};
use super::layout::Pane;
use super::live::LiveState;
use super::sort::{ByDestination, ByProcess, SortOrder};
use super::tail::NumberedEvent;
use super::theme::Theme;
use super::view::{DestinationItem, Scope, View};

/// Steps of a replay's speed, as multiples of real time.
const SPEEDS: [f64; 11] = [
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 1_000.0,
];
/// Index of real time.
const REAL_TIME: usize = 3;
/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;
/// Samples in a column of the timeline.
const SPANS: [usize; 3] = [1, 5, 30];

/// What does not change while the view is open.
#[derive(Clone, Debug)]
pub struct ViewOptions {
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// The span that is replayed; `None` for what happens now.
    pub replay: Option<ReplaySpan>,
    /// Whether colours may be used.
    pub has_colour: bool,
    /// Filters of the command line, which events and samples have passed already; empty for none.
    pub filter_words: String,
    /// Makes a filter of what is typed: see [`crate::cli::display_filter`].
    pub parse_filter: Parse,
}

/// First and last moment of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaySpan {
    /// Of the first event.
    pub start: Timestamp,
    /// Of the last.
    pub end: Timestamp,
}

/// What is known at one moment; rates are differences between two of these.
#[derive(Clone, Debug)]
pub struct ReportSample {
    /// Wall clock.
    pub ts: Timestamp,
    /// CLOCK_MONOTONIC of the traced host, nanoseconds.
    pub mono_ns: u64,
    /// Cumulative, from the start of tracing to `ts`.
    pub report: Report,
    /// Doctor's findings about it, the worst first.
    pub findings: Vec<Finding>,
}

/// What the caller is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// End.
    Quit,
    /// Restore the terminal, stop as Ctrl-Z does, and come back.
    Suspend,
    /// Forget what the terminal shows, and draw anew.
    Redraw,
    /// Report the mouse, or leave it to the terminal.
    Mouse(bool),
    /// In a replay: stand still, or go on. Live only the screen stands still, and there is nothing to do.
    Pause(bool),
    /// Replay this many times as fast as it happened.
    Speed(f64),
    /// Go on from this many nanoseconds later, or earlier.
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
    /// What is shown while the screen stands still.
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
    process_at: Option<ProcessKey>,
    destination_at: Option<DestinationItem>,
    /// Number of the selected event; `None` for the newest.
    event_at: Option<u64>,
    finding_at: usize,
    /// First visible row by pane, and that of the overlay.
    offsets: [usize; Pane::COUNT],
    overlay_offset: usize,
    /// Rows that were visible when it was drawn last.
    heights: [usize; Pane::COUNT],
    /// Where panes were drawn last.
    places: Vec<(Pane, Rect)>,
    span: usize,
    pub(super) is_paused: bool,
    speed: usize,
    has_mouse: bool,
    /// The last message of the program's log, and how many there were.
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

    /// Takes an event that passes the filters of the command line, and the host it comes from where there are
    /// several. Cheap: text is made of what is visible only.
    pub fn event(&mut self, event: &Event, host: Option<&str>) {
        self.live.event(event, host);
        self.is_dirty |= self.frozen.is_none();
    }

    /// Takes a sample. One from an earlier moment than the last is that of a replay that went back.
    pub fn sample(&mut self, sample: ReportSample) {
        self.live.sample(sample);
        if self.frozen.is_none() {
            self.refresh();
        }
    }

    /// Takes a line that would go to stderr.
    pub fn log(&mut self, line: &str) {
        let count = self.message.as_ref().map_or(0, |(_, count)| *count);
        self.message = Some((line.to_owned(), count + 1));
        self.is_dirty = true;
    }

    /// Whether something changed since it was drawn.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// The terminal has another size, or was drawn over.
    pub fn resized(&mut self) {
        self.is_dirty = true;
    }

    /// What is shown: that of now, or of when the screen was stopped.
    pub(super) fn shown(&self) -> &LiveState {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    /// Events that came since the screen was stopped.
    pub(super) fn held_back(&self) -> u64 {
        self.live.tail.count() - self.shown().tail.count()
    }

    /// As multiples of real time.
    pub(super) fn speed(&self) -> f64 {
        SPEEDS[self.speed]
    }

    /// Samples in a column of the timeline.
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
            self.process_order,
            self.destination_order,
        );
        self.view = view;
    }
}
