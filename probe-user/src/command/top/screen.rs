//! The full-screen view, live or played: the terminal, keys and signals.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::model::tally::{Tally, TracingStart};

use crate::cli::{TopArgs, display_filter, filter_words};
use crate::command::terminal_signals::{TerminalSignal, TerminalSignals};
use crate::output::log_lines;
use crate::output::page::has_colour;
use crate::output::tui::terminal::{self, Input, Screen};
use crate::output::tui::{Action, App, ReplaySpan, ReportSample, ViewOptions};
use crate::session::stop::Stop;

/// Between two drawings, unless a key requires one.
const DRAW: Duration = Duration::from_millis(250);

/// What the view needs when it opens.
pub fn view_options(
    args: &TopArgs,
    tracing: &TracingStart,
    replay: Option<ReplaySpan>,
) -> ViewOptions {
    ViewOptions {
        host: tracing.host.name.clone(),
        kernel: tracing.host.kernel.clone(),
        replay,
        has_colour: has_colour(),
        filter_words: filter_words(&args.filter),
        parse_filter: display_filter,
    }
}

/// The current figures.
pub fn sample(tally: &Tally) -> ReportSample {
    let (Diagnosis { findings, .. }, report) = Diagnosis::of(tally, tally.report());
    let at = tally.latest();
    ReportSample {
        ts: at.ts,
        mono_ns: at.mono_ns,
        findings,
        report,
    }
}

/// The terminal and its input.
pub struct Front {
    screen: Screen,
    inputs: mpsc::Receiver<io::Result<Input>>,
    drawing: Interval,
    signals: TerminalSignals,
}

pub enum ScreenEvent {
    /// A signal, or the terminal is closed.
    End,
    /// A key, the mouse, or another size.
    Input(Input),
    /// Time to draw.
    Tick,
}

/// Result of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Obeyed {
    /// End the view.
    End,
    /// Nothing more to do.
    Done,
    /// To be applied by the replay.
    Replay(Action),
}

impl Front {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// If that fails.
    pub fn open(app: &mut App) -> Result<Self> {
        let signals = TerminalSignals::listen().context("listening for signals")?;
        let mut screen = Screen::open()?;
        screen.draw(app)?;
        let mut drawing = interval(DRAW);
        drawing.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self {
            screen,
            inputs: terminal::inputs().context("starting the thread that reads keys")?,
            drawing,
            signals,
        })
    }

    /// Waits for the next step. Can be cancelled.
    ///
    /// # Errors
    /// If keys can't be read, or the terminal can't be given back for Ctrl-Z.
    pub async fn next(&mut self, stop: &mut Stop) -> Result<ScreenEvent> {
        tokio::select! {
            biased;
            () = stop.wait() => Ok(ScreenEvent::End),
            wanted = self.signals.wait() => {
                match wanted {
                    TerminalSignal::End => return Ok(ScreenEvent::End),
                    TerminalSignal::Suspend => self.screen.suspend()?,
                }
                Ok(ScreenEvent::Tick)
            }
            input = self.inputs.recv() => match input {
                None => Ok(ScreenEvent::End),
                Some(input) => Ok(ScreenEvent::Input(input.context("reading keys")?)),
            },
            _ = self.drawing.tick() => Ok(ScreenEvent::Tick),
        }
    }

    /// Draws what changed.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub fn draw(&mut self, app: &mut App) -> Result<()> {
        for line in log_lines::take() {
            app.log(&line);
        }
        if app.is_dirty() {
            self.screen.draw(app)?;
        }
        Ok(())
    }

    /// Does what a key or the mouse requests, and draws.
    pub fn obey(&mut self, app: &mut App, input: Input) -> Result<Obeyed> {
        let action = match input {
            Input::Key(key) => app.key(key),
            Input::Mouse(mouse) => {
                app.mouse(mouse);
                None
            }
            Input::Resize(..) | Input::FocusGained | Input::FocusLost | Input::Paste(_) => {
                app.resized();
                None
            }
        };
        let obeyed = match action {
            Some(Action::Quit) => return Ok(Obeyed::End),
            Some(Action::Suspend) => {
                self.screen.suspend()?;
                Obeyed::Done
            }
            Some(Action::Redraw) => {
                self.screen.clear()?;
                Obeyed::Done
            }
            Some(Action::Mouse(is_on)) => {
                self.screen.mouse(is_on)?;
                Obeyed::Done
            }
            // In live mode only the screen stands still; there is nothing to seek.
            Some(action @ (Action::Pause(_) | Action::Speed(_) | Action::Seek(_))) => {
                Obeyed::Replay(action)
            }
            None => Obeyed::Done,
        };
        self.draw(app)?;
        Ok(obeyed)
    }
}
