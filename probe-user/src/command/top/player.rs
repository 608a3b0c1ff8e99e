//! Plays what is past: at any speed, back and forth.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::feed::Feed;
use super::screen::{Front, Step};
use crate::output::tui::{Action, App};
use crate::session::stop::Stop;

/// What has been played of something past.
pub trait Playback {
    /// Plays so many nanoseconds more, or as many as there are.
    fn forward(&mut self, app: &mut App, ns: u64) -> Result<()>;

    /// Goes back by so many nanoseconds, or to the beginning.
    fn back(&mut self, app: &mut App, ns: u64) -> Result<()>;

    /// What could not be played.
    fn outcome(self) -> Result<()>;
}

/// Something past, and how it goes on.
pub struct Player<P> {
    /// What is played.
    pub playback: P,
    stop: Stop,
    /// When it came to where it is.
    since: Instant,
    speed: f64,
    is_paused: bool,
}

impl<P: Playback> Player<P> {
    /// Plays at the speed at which it happened, until `stop` says so.
    pub fn new(playback: P, stop: Stop) -> Self {
        Self {
            playback,
            stop,
            since: Instant::now(),
            speed: 1.0,
            is_paused: false,
        }
    }

    /// Goes so many nanoseconds forward, or back.
    pub fn seek(&mut self, app: &mut App, ns: i64) -> Result<()> {
        if ns >= 0 {
            return self.playback.forward(app, ns.unsigned_abs());
        }
        self.since = Instant::now();
        self.playback.back(app, ns.unsigned_abs())
    }
}

impl<P: Playback> Feed for Player<P> {
    async fn next(&mut self, front: &mut Front, _: &mut App) -> Result<Step> {
        front.next(&mut self.stop).await
    }

    /// Goes on as far as time has gone, at its speed.
    fn tick(&mut self, app: &mut App) -> Result<()> {
        let elapsed = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        if self.is_paused {
            return Ok(());
        }
        // One that was suspended does not leap.
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
