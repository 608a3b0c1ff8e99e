//! Handles keys and the mouse.

use ratatui::crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;
use twtrace_core::filter::Filter;

use super::super::filter_line::{FilterLine, Typed};
use super::super::keys::{self, KeyCommand};
use super::super::layout::{self, Pane};
use super::super::sort::{ByDestination, ByProcess, SortOrder};
use super::super::view::{ProcessItem, Scope};
use super::{Action, App, Overlay, SECOND_NS, SPANS, SPEEDS};

impl App {
    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.is_dirty = true;
        let command = keys::command(key, self.is_replay());
        if let Some(line) = &mut self.typing
            && !matches!(command, Some(KeyCommand::Quit | KeyCommand::Suspend) if has_control(key))
        {
            match line.key(key, self.options.parse_filter) {
                Typed::More => {}
                Typed::Cancelled => self.typing = None,
                Typed::Done(filter, words) => {
                    self.typing = None;
                    self.filter_by(*filter, words);
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

    pub(super) fn command_in_overlay(&mut self, command: KeyCommand) -> Option<Action> {
        let page = self.heights[Pane::Detail as usize].max(1);
        let offset = &mut self.overlay_offset;
        match command {
            KeyCommand::Up => *offset = offset.saturating_sub(1),
            KeyCommand::Down => *offset = offset.saturating_add(1),
            KeyCommand::PageUp => *offset = offset.saturating_sub(page),
            KeyCommand::PageDown => *offset = offset.saturating_add(page),
            KeyCommand::First => *offset = 0,
            KeyCommand::Last => *offset = usize::MAX,
            KeyCommand::Back | KeyCommand::Open => self.overlay = None,
            KeyCommand::Help if matches!(self.overlay, Some(Overlay::Help)) => self.overlay = None,
            KeyCommand::Integrity if matches!(self.overlay, Some(Overlay::Integrity)) => {
                self.overlay = None;
            }
            KeyCommand::Help | KeyCommand::Integrity => return self.command(command),
            KeyCommand::Quit | KeyCommand::Suspend | KeyCommand::Redraw | KeyCommand::Mouse => {
                return self.command(command);
            }
            _ => {}
        }
        None
    }

    pub(super) fn command(&mut self, command: KeyCommand) -> Option<Action> {
        match command {
            KeyCommand::Quit => return Some(Action::Quit),
            KeyCommand::Suspend => return Some(Action::Suspend),
            KeyCommand::Redraw => return Some(Action::Redraw),
            KeyCommand::Help => self.cover(Overlay::Help),
            KeyCommand::Integrity => self.cover(Overlay::Integrity),
            KeyCommand::Up => self.step(-1),
            KeyCommand::Down => self.step(1),
            KeyCommand::PageUp => self.step(-self.page()),
            KeyCommand::PageDown => self.step(self.page()),
            KeyCommand::First => self.step(isize::MIN),
            KeyCommand::Last => self.step(isize::MAX),
            KeyCommand::NextPane => self.focus_next(1),
            KeyCommand::PreviousPane => self.focus_next(-1),
            KeyCommand::Open => self.open(),
            KeyCommand::Back => self.back(),
            KeyCommand::Sort => self.sort(SortOrder::next, SortOrder::next),
            KeyCommand::ReverseSort => self.sort(SortOrder::reverse, SortOrder::reverse),
            KeyCommand::Commands => {
                self.is_by_command = !self.is_by_command;
                self.refresh();
            }
            KeyCommand::Filter => self.typing = Some(FilterLine::new(&self.filter_words)),
            KeyCommand::Pause => return Some(self.pause()),
            KeyCommand::Zoom => self.is_zoomed = !self.is_zoomed,
            KeyCommand::Span => self.span = (self.span + 1) % SPANS.len(),
            KeyCommand::Mouse => {
                self.has_mouse = !self.has_mouse;
                return Some(Action::Mouse(self.has_mouse));
            }
            KeyCommand::Faster => {
                self.speed = (self.speed + 1).min(SPEEDS.len() - 1);
                return Some(Action::Speed(self.speed()));
            }
            KeyCommand::Slower => {
                self.speed = self.speed.saturating_sub(1);
                return Some(Action::Speed(self.speed()));
            }
            KeyCommand::Forth => return Some(Action::Seek(10 * SECOND_NS)),
            KeyCommand::Back10 => return Some(Action::Seek(-10 * SECOND_NS)),
            KeyCommand::FarForth => return Some(Action::Seek(60 * SECOND_NS)),
            KeyCommand::FarBack => return Some(Action::Seek(-60 * SECOND_NS)),
        }
        None
    }

    /// Handles the mouse: a click selects, the wheel scrolls.
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

    pub(super) fn cover(&mut self, overlay: Overlay) {
        self.overlay = Some(overlay);
        self.overlay_offset = 0;
    }

    pub(super) fn filter_by(&mut self, filter: Filter, words: String) {
        self.filter = filter;
        self.filter_words = words;
        self.event_at = None;
        self.refresh();
    }

    pub(super) fn enter(&mut self, scope: Scope) {
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

    pub(super) fn open(&mut self) {
        let opened_from = match self.scope {
            Scope::Command(comm) => Some(comm),
            _ => None,
        };
        match self.focus {
            Pane::Processes => {
                if let Some(line) = self.view.processes.get(self.index(Pane::Processes)) {
                    let (item, scope) = (line.item(), line.scope());
                    self.process_at = Some(item);
                    self.opened_command = opened_from;
                    self.enter(scope);
                }
            }
            Pane::Destinations => {
                if let Some(line) = self.view.destinations.get(self.index(Pane::Destinations)) {
                    let target = line.target;
                    self.destination_at = Some(target);
                    self.opened_command = opened_from;
                    self.enter(Scope::Destination(target));
                }
            }
            Pane::Events => {
                let at = self.index(Pane::Events);
                if let Some(numbered) = self
                    .events()
                    .get(at)
                    .map(|numbered| Box::new((*numbered).clone()))
                {
                    self.cover(Overlay::Event(numbered));
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

    /// Goes back one step: the message, the zoom, the process or destination, the filter.
    pub(super) fn back(&mut self) {
        if self.message.take().is_some() {
            return;
        }
        if self.is_zoomed {
            self.is_zoomed = false;
        } else if self.scope != Scope::All {
            let from = self.scope;
            let to = match (from, self.opened_command.take()) {
                (Scope::Process(_) | Scope::Destination(_), Some(comm)) => Scope::Command(comm),
                _ => Scope::All,
            };
            self.enter(to);
            self.focus = match from {
                Scope::Destination(_) => Pane::Destinations,
                _ => Pane::Processes,
            };
            if let Scope::Command(comm) = from {
                self.process_at = Some(ProcessItem::Command(comm));
            }
        } else if !self.filter_words.is_empty() {
            self.filter_by(Filter::default(), String::new());
        }
    }

    pub(super) fn pause(&mut self) -> Action {
        self.is_paused = !self.is_paused;
        if !self.is_replay() {
            self.frozen = self.is_paused.then(|| Box::new(self.live.clone()));
            self.refresh();
        }
        Action::Pause(self.is_paused)
    }

    pub(super) fn sort(
        &mut self,
        processes: fn(&mut SortOrder<ByProcess>),
        destinations: fn(&mut SortOrder<ByDestination>),
    ) {
        match self.focus {
            Pane::Processes => processes(&mut self.process_order),
            Pane::Destinations => destinations(&mut self.destination_order),
            _ => return,
        }
        self.refresh();
    }

    pub(super) fn focus_next(&mut self, step: isize) {
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

    pub(super) fn page(&self) -> isize {
        self.heights[self.focus as usize].max(1).cast_signed()
    }
}

fn has_control(key: KeyEvent) -> bool {
    key.modifiers
        .contains(ratatui::crossterm::event::KeyModifiers::CONTROL)
}
