//! The state of the view, and what keys and samples do to it.

use ratatui::Frame;
use ratatui::crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};
use twtrace_wire::ProcessKey;

use super::filter_line::{FilterLine, Parse, Typed};
use super::keys::{self, Command};
use super::layout::{self, Pane};
use super::live::Live;
use super::look::Look;
use super::pane;
use super::sort::{ByDestination, ByProcess, Order};
use super::tail::Told;
use super::view::{Scope, Target, View};
use crate::doctor::finding::Finding;
use crate::event::{Event, Timestamp};
use crate::filter::Filter;
use crate::model::report::Report;

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
pub struct Opening {
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
pub struct Sample {
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
    Event(Box<Told>),
}

/// The view.
#[derive(Debug)]
pub struct App {
    pub(super) opening: Opening,
    pub(super) look: Look,
    live: Live,
    /// What is shown while the screen stands still.
    frozen: Option<Box<Live>>,
    pub(super) view: View,
    pub(super) scope: Scope,
    pub(super) focus: Pane,
    pub(super) is_zoomed: bool,
    pub(super) overlay: Option<Overlay>,
    pub(super) typing: Option<FilterLine>,
    pub(super) filter: Filter,
    pub(super) filter_words: String,
    pub(super) process_order: Order<ByProcess>,
    pub(super) destination_order: Order<ByDestination>,
    process_at: Option<ProcessKey>,
    destination_at: Option<Target>,
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
    pub fn new(opening: Opening) -> Self {
        Self {
            look: Look {
                has_colour: opening.has_colour,
            },
            opening,
            live: Live::default(),
            frozen: None,
            view: View::default(),
            scope: Scope::All,
            focus: Pane::Processes,
            is_zoomed: false,
            overlay: None,
            typing: None,
            filter: Filter::default(),
            filter_words: String::new(),
            process_order: Order::default(),
            destination_order: Order::default(),
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
    pub fn sample(&mut self, sample: Sample) {
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
    pub(super) fn shown(&self) -> &Live {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    /// Events that came since the screen was stopped.
    pub(super) fn held_back(&self) -> u64 {
        self.live.tail.told() - self.shown().tail.told()
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
        self.opening.replay.is_some()
    }

    /// The events that are in scope and pass the filter, the oldest first.
    pub(super) fn events(&self) -> Vec<&Told> {
        self.shown()
            .tail
            .iter()
            .filter(|told| self.scope.has(&told.event) && self.filter.matches(&told.event))
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

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.is_dirty = true;
        let command = keys::command(key, self.is_replay());
        if let Some(line) = &mut self.typing
            && !matches!(command, Some(Command::Quit | Command::Suspend) if has_control(key))
        {
            match line.key(key, self.opening.parse_filter) {
                Typed::More => {}
                Typed::Cancelled => self.typing = None,
                Typed::Done(filter, words) => {
                    self.typing = None;
                    self.filter_by(filter, words);
                }
            }
            return None;
        }
        let command = command?;
        match self.overlay {
            Some(_) => self.command_in_overlay(command),
            None => self.command(command),
        }
    }

    fn command_in_overlay(&mut self, command: Command) -> Option<Action> {
        let page = self.heights[Pane::Detail as usize].max(1);
        let offset = &mut self.overlay_offset;
        match command {
            Command::Up => *offset = offset.saturating_sub(1),
            Command::Down => *offset = offset.saturating_add(1),
            Command::PageUp => *offset = offset.saturating_sub(page),
            Command::PageDown => *offset = offset.saturating_add(page),
            Command::First => *offset = 0,
            Command::Last => *offset = usize::MAX,
            Command::Back | Command::Open => self.overlay = None,
            Command::Help if matches!(self.overlay, Some(Overlay::Help)) => self.overlay = None,
            Command::Integrity if matches!(self.overlay, Some(Overlay::Integrity)) => {
                self.overlay = None;
            }
            Command::Help | Command::Integrity => return self.command(command),
            Command::Quit | Command::Suspend | Command::Redraw | Command::Mouse => {
                return self.command(command);
            }
            _ => {}
        }
        None
    }

    fn command(&mut self, command: Command) -> Option<Action> {
        match command {
            Command::Quit => return Some(Action::Quit),
            Command::Suspend => return Some(Action::Suspend),
            Command::Redraw => return Some(Action::Redraw),
            Command::Help => self.cover(Overlay::Help),
            Command::Integrity => self.cover(Overlay::Integrity),
            Command::Up => self.step(-1),
            Command::Down => self.step(1),
            Command::PageUp => self.step(-self.page()),
            Command::PageDown => self.step(self.page()),
            Command::First => self.step(isize::MIN),
            Command::Last => self.step(isize::MAX),
            Command::NextPane => self.focus_next(1),
            Command::PreviousPane => self.focus_next(-1),
            Command::Open => self.open(),
            Command::Back => self.back(),
            Command::Sort => self.sort(Order::next, Order::next),
            Command::ReverseSort => self.sort(Order::reverse, Order::reverse),
            Command::Filter => self.typing = Some(FilterLine::new(&self.filter_words)),
            Command::Pause => return Some(self.pause()),
            Command::Zoom => self.is_zoomed = !self.is_zoomed,
            Command::Span => self.span = (self.span + 1) % SPANS.len(),
            Command::Mouse => {
                self.has_mouse = !self.has_mouse;
                return Some(Action::Mouse(self.has_mouse));
            }
            Command::Faster => {
                self.speed = (self.speed + 1).min(SPEEDS.len() - 1);
                return Some(Action::Speed(self.speed()));
            }
            Command::Slower => {
                self.speed = self.speed.saturating_sub(1);
                return Some(Action::Speed(self.speed()));
            }
            Command::Forth => return Some(Action::Seek(10 * SECOND_NS)),
            Command::Back10 => return Some(Action::Seek(-10 * SECOND_NS)),
            Command::FarForth => return Some(Action::Seek(60 * SECOND_NS)),
            Command::FarBack => return Some(Action::Seek(-60 * SECOND_NS)),
        }
        None
    }

    /// Takes what the mouse did: a click selects, the wheel moves.
    pub fn mouse(&mut self, mouse: MouseEvent) {
        let at = Position::new(mouse.column, mouse.row);
        let Some((pane, area)) = self
            .places
            .iter()
            .copied()
            .find(|(_, area)| area.contains(at))
        else {
            return;
        };
        if self.overlay.is_some() || self.typing.is_some() {
            return;
        }
        let step = match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => 0,
            MouseEventKind::ScrollUp => -1,
            MouseEventKind::ScrollDown => 1,
            _ => return,
        };
        self.is_dirty = true;
        if pane.takes_keys() {
            self.focus = pane;
        }
        if step != 0 {
            self.step(step);
        } else if let Some(row) = usize::from(mouse.row - area.y).checked_sub(pane.rows_above()) {
            self.select(self.offsets[pane as usize] + row);
        }
    }

    fn cover(&mut self, overlay: Overlay) {
        self.overlay = Some(overlay);
        self.overlay_offset = 0;
    }

    fn filter_by(&mut self, filter: Filter, words: String) {
        self.filter = filter;
        self.filter_words = words;
        self.event_at = None;
        self.refresh();
    }

    fn enter(&mut self, scope: Scope) {
        self.scope = scope;
        self.event_at = None;
        self.offsets = [0; Pane::COUNT];
        let panes = layout::panes(scope);
        if !panes.contains(&self.focus) {
            self.focus = panes
                .iter()
                .copied()
                .find(|pane| pane.takes_keys() && *pane != Pane::Detail)
                .unwrap_or(Pane::Events);
        }
        self.refresh();
    }

    fn open(&mut self) {
        match self.focus {
            Pane::Processes => {
                if let Some(line) = self.view.processes.get(self.index(Pane::Processes)) {
                    let key = line.key;
                    self.process_at = Some(key);
                    self.enter(Scope::Process(key));
                }
            }
            Pane::Destinations => {
                if let Some(line) = self.view.destinations.get(self.index(Pane::Destinations)) {
                    let target = line.target;
                    self.destination_at = Some(target);
                    self.enter(Scope::Target(target));
                }
            }
            Pane::Events => {
                let at = self.index(Pane::Events);
                if let Some(told) = self.events().get(at).map(|told| Box::new((*told).clone())) {
                    self.cover(Overlay::Event(told));
                }
            }
            Pane::Findings => {
                let findings = self.shown().sample.as_ref().map(|sample| &sample.findings);
                if let Some(finding) = findings.and_then(|all| all.get(self.finding_at)).cloned() {
                    self.cover(Overlay::Finding(Box::new(finding)));
                }
            }
            Pane::Timeline | Pane::Detail => {}
        }
    }

    /// One step out: the message, the zoom, the process or destination, the filter.
    fn back(&mut self) {
        if self.message.take().is_some() {
            return;
        }
        if self.is_zoomed {
            self.is_zoomed = false;
        } else if self.scope != Scope::All {
            let from = self.scope;
            self.enter(Scope::All);
            self.focus = match from {
                Scope::Target(_) => Pane::Destinations,
                _ => Pane::Processes,
            };
        } else if !self.filter_words.is_empty() {
            self.filter_by(Filter::default(), String::new());
        }
    }

    fn pause(&mut self) -> Action {
        self.is_paused = !self.is_paused;
        if !self.is_replay() {
            self.frozen = self.is_paused.then(|| Box::new(self.live.clone()));
            self.refresh();
        }
        Action::Pause(self.is_paused)
    }

    fn sort(
        &mut self,
        processes: fn(&mut Order<ByProcess>),
        destinations: fn(&mut Order<ByDestination>),
    ) {
        match self.focus {
            Pane::Processes => processes(&mut self.process_order),
            Pane::Destinations => destinations(&mut self.destination_order),
            _ => return,
        }
        self.refresh();
    }

    fn focus_next(&mut self, step: isize) {
        let panes: Vec<Pane> = layout::panes(self.scope)
            .iter()
            .copied()
            .filter(|pane| pane.takes_keys())
            .collect();
        let at = panes
            .iter()
            .position(|pane| *pane == self.focus)
            .unwrap_or(0);
        let next = at.cast_signed() + step;
        self.focus = panes[next.rem_euclid(panes.len().cast_signed()).cast_unsigned()];
    }

    fn page(&self) -> isize {
        self.heights[self.focus as usize].max(1).cast_signed()
    }

    /// Rows of a pane.
    fn length(&self, pane: Pane) -> usize {
        match pane {
            Pane::Processes => self.view.processes.len(),
            Pane::Destinations => self.view.destinations.len(),
            Pane::Events => self.events().len(),
            Pane::Findings => {
                let sample = self.shown().sample.as_ref();
                sample.map_or(0, |sample| sample.findings.len())
            }
            Pane::Timeline | Pane::Detail => 0,
        }
    }

    /// The selected row of a pane.
    pub(super) fn index(&self, pane: Pane) -> usize {
        let last = self.length(pane).saturating_sub(1);
        match pane {
            Pane::Processes => self
                .process_at
                .and_then(|key| self.view.processes.iter().position(|line| line.key == key))
                .unwrap_or(0),
            Pane::Destinations => self
                .destination_at
                .and_then(|at| {
                    let lines = &self.view.destinations;
                    lines.iter().position(|line| line.target == at)
                })
                .unwrap_or(0),
            // One that is older than all that are kept leaves the oldest.
            Pane::Events => match self.event_at {
                Some(number) => self
                    .events()
                    .partition_point(|told| told.number < number)
                    .min(last),
                None => last,
            },
            Pane::Findings => self.finding_at.min(last),
            Pane::Timeline | Pane::Detail => 0,
        }
    }

    fn step(&mut self, by: isize) {
        if self.focus == Pane::Detail {
            let offset = &mut self.offsets[Pane::Detail as usize];
            *offset = offset.saturating_add_signed(by);
            return;
        }
        self.select(self.index(self.focus).saturating_add_signed(by));
    }

    fn select(&mut self, index: usize) {
        let index = index.min(self.length(self.focus).saturating_sub(1));
        match self.focus {
            Pane::Processes => {
                self.process_at = self.view.processes.get(index).map(|line| line.key);
            }
            Pane::Destinations => {
                self.destination_at = self.view.destinations.get(index).map(|line| line.target);
            }
            Pane::Events => {
                let events = self.events();
                let is_newest = index + 1 >= events.len();
                self.event_at = match is_newest {
                    true => None,
                    false => events.get(index).map(|told| told.number),
                };
            }
            Pane::Findings => self.finding_at = index,
            Pane::Timeline | Pane::Detail => {}
        }
    }

    /// Draws everything.
    pub fn draw(&mut self, frame: &mut Frame) {
        self.is_dirty = false;
        let area = frame.area();
        let buffer = frame.buffer_mut();
        if layout::is_too_small(area) {
            self.places.clear();
            pane::too_small(buffer, area);
            return;
        }
        let has_mistake = self
            .typing
            .as_ref()
            .is_some_and(|line| line.mistake().is_some());
        let screen = layout::screen(area, self.message.is_some() || has_mistake);
        pane::header::draw(self, screen.header, buffer);
        pane::status::draw(self, screen.status, buffer);
        let overlay = self.overlay.take();
        match &overlay {
            Some(overlay) => {
                let notes = pane::overlay::notes(self, overlay);
                self.places.clear();
                self.heights[Pane::Detail as usize] =
                    usize::from(screen.body.height).saturating_sub(1);
                let title = pane::overlay::title(overlay);
                self.overlay_offset = pane::notes::draw(
                    self,
                    screen.body,
                    buffer,
                    title,
                    &notes,
                    self.overlay_offset,
                );
            }
            None => self.draw_panes(screen.body, buffer),
        }
        self.overlay = overlay;
        if let Some(area) = screen.message {
            pane::footer::draw_message(self, area, buffer);
        }
        if let Some(cursor) = pane::footer::draw(self, screen.footer, buffer) {
            frame.set_cursor_position(cursor);
        }
    }

    fn draw_panes(&mut self, body: Rect, buffer: &mut ratatui::buffer::Buffer) {
        self.places = layout::places(body, self.scope, self.focus, self.is_zoomed);
        for (pane, area) in self.places.clone() {
            let height = usize::from(area.height).saturating_sub(pane.rows_above());
            self.heights[pane as usize] = height;
            let offset = match pane {
                Pane::Detail => self.offsets[pane as usize],
                _ => self.scrolled(pane, height),
            };
            let offset = match pane {
                Pane::Timeline => {
                    pane::timeline::draw(self, area, buffer);
                    0
                }
                Pane::Processes => {
                    pane::processes::draw(self, area, buffer, offset);
                    offset
                }
                Pane::Destinations => {
                    pane::destinations::draw(self, area, buffer, offset);
                    offset
                }
                Pane::Events => {
                    pane::events::draw(self, area, buffer, offset);
                    offset
                }
                Pane::Findings => {
                    pane::findings::draw(self, area, buffer, offset);
                    offset
                }
                Pane::Detail => pane::detail::draw(self, area, buffer, offset),
            };
            self.offsets[pane as usize] = offset;
        }
    }

    /// The first visible row: the selected one is visible, and no room is left below the last.
    fn scrolled(&self, pane: Pane, height: usize) -> usize {
        let (index, length) = (self.index(pane), self.length(pane));
        self.offsets[pane as usize]
            .min(length.saturating_sub(height))
            .min(index)
            .max((index + 1).saturating_sub(height))
    }
}

fn has_control(key: KeyEvent) -> bool {
    key.modifiers
        .contains(ratatui::crossterm::event::KeyModifiers::CONTROL)
}
