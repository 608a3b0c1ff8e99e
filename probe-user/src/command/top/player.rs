//! Plays past data, at any speed, back and forth.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::feed::Feed;
use super::screen::{Front, ScreenEvent};
use crate::output::tui::{Action, App};
use crate::session::stop::Stop;

/// Playback of past data.
pub trait Playback {
    /// Plays this many nanoseconds more, or as many as there are.
    fn forward(&mut self, app: &mut App, ns: u64) -> Result<()>;

    /// Moves back by this many nanoseconds, or to the beginning.
    fn back(&mut self, app: &mut App, ns: u64) -> Result<()>;

    /// What could not be read.
    fn outcome(self) -> Result<()>;
}

/// Plays past data as time passes.
pub struct Player<P> {
    pub playback: P,
    stop: Stop,
    /// When the position last changed.
    since: Instant,
    speed: f64,
    is_paused: bool,
}

impl<P: Playback> Player<P> {
    /// Plays at normal speed, until `stop` ends it.
    pub fn new(playback: P, stop: Stop) -> Self {
        Self {
            playback,
            stop,
            since: Instant::now(),
            speed: 1.0,
            is_paused: false,
        }
    }

    /// Moves forward by this many nanoseconds, or back if negative.
    pub fn seek(&mut self, app: &mut App, ns: i64) -> Result<()> {
        if ns >= 0 {
            return self.playback.forward(app, ns.unsigned_abs());
        }
        self.since = Instant::now();
        self.playback.back(app, ns.unsigned_abs())
    }
}

impl<P: Playback> Feed for Player<P> {
    async fn next(&mut self, front: &mut Front, _: &mut App) -> Result<ScreenEvent> {
        front.next(&mut self.stop).await
    }

    /// Plays as much as the time that passed, at the current speed.
    fn tick(&mut self, app: &mut App) -> Result<()> {
        let elapsed = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        if self.is_paused {
            return Ok(());
        }
        // A suspended program must not jump ahead.
        let elapsed = elapsed.min(Duration::from_secs(1));
        let ns = (elapsed.as_nanos() as f64 * self.speed) as u64;
        self.playback.forward(app, ns)
    }

    fn obey(&mut self, app: &mut App, action: Action) -> Result<()> {
        match action {
            Action::Pause(is_paused) => {
                self.is_paused = is_paused;
                self.since = Instant::now();
            }
            Action::Speed(speed) => self.speed = speed,
            Action::Seek(ns) => self.seek(app, ns)?,
            Action::Quit | Action::Suspend | Action::Redraw | Action::Mouse(_) => {}
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.playback.outcome()
    }
}
