//! `twtrace top` of this host, live.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use anyhow::Result;
use twtrace_core::event::{Event, Lost};
use twtrace_core::model::observation::Observation;
use twtrace_core::model::tally::Tally;

use super::feed::Feed;
use super::screen::{Front, ScreenEvent, sample, view_options};
use crate::cli::TopArgs;
use crate::command::source::live::{DRAIN, Live, LiveOptions};
use crate::output::tui::{Action, App};
use crate::privilege::Keep;
use crate::session::observer::Wants;
use crate::session::sink::{Sink, Tee};

/// Between two samples.
const SAMPLE: Duration = Duration::from_secs(1);
/// Between two samples of the kernel's sockets and settings.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// Attached probes, and what they have reported so far.
pub struct Watch {
    live: Live,
    tally: Tally,
    sampled: Option<Instant>,
    drain_at: Instant,
}

impl Watch {
    /// Attaches the probes.
    ///
    /// # Errors
    /// If the filter asks for what does not exist, or the kernel refuses the probes, their maps or a clock.
    pub fn start(args: &TopArgs) -> Result<(Self, App)> {
        let mut live = Live::start(LiveOptions {
            filter: &args.filter,
            probing: &args.probing,
            wants: Wants::ALL,
            sample_interval: Some(SAMPLE_INTERVAL),
            max_stacks: None,
            is_service: false,
            keep: Keep::Naming,
            command: &[],
        })?;
        let tracing = live.session.tracing_start();
        let mut app = App::new(view_options(args, &tracing, None));
        let mut tally = Tally::new(tracing, live.filter.clone()).with_recent_rates();
        live.begin(&mut Tee(&mut app, &mut tally))?;
        let watch = Self {
            live,
            tally,
            sampled: None,
            drain_at: Instant::now(),
        };
        Ok((watch, app))
    }
}

impl Feed for Watch {
    async fn next(&mut self, front: &mut Front, app: &mut App) -> Result<ScreenEvent> {
        loop {
            tokio::select! {
                biased;
                step = front.next(&mut self.live.stop) => return step,
                ready = self.live.session.ready_after(self.drain_at) => {
                    ready?;
                    self.live.step(&mut Tee(&mut *app, &mut self.tally))?;
                    self.drain_at = Instant::now() + DRAIN;
                }
            }
        }
    }

    fn tick(&mut self, app: &mut App) -> Result<()> {
        if self
            .sampled
            .is_some_and(|sampled| sampled.elapsed() < SAMPLE)
        {
            return Ok(());
        }
        self.sampled = Some(Instant::now());
        let mut shown_and_counted = Tee(&mut *app, &mut self.tally);
        self.live.step(&mut shown_and_counted)?;
        self.live.totals(&mut shown_and_counted)?;
        self.tally.reached(self.live.session.now()?);
        app.sample(sample(&self.tally));
        Ok(())
    }

    /// Only the screen stands still; there is nothing to seek.
    fn obey(&mut self, _: &mut App, _: Action) -> Result<()> {
        Ok(())
    }

    fn end(self) -> Result<()> {
        Ok(())
    }
}

impl Sink for App {
    fn any_event(&mut self, _: &Event) {}

    fn event(&mut self, event: &Event) -> Result<()> {
        Self::event(self, event, None);
        Ok(())
    }

    /// Samples include what was lost.
    fn lost(&mut self, _: &Lost) -> Result<()> {
        Ok(())
    }

    /// Samples include what follows from it.
    fn observed(&mut self, _: Cow<'_, Observation>) -> Result<()> {
        Ok(())
    }
}
