//! The history of a service: interval after interval, passed to the keeper as they end.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use twtrace_core::event::{Event, Lost, Moment};
use twtrace_core::filter::Filter;
use twtrace_core::model::notable::Notable;
use twtrace_core::model::observation::{Observation, ObservationData};
use twtrace_core::model::tally::{Tally, TracingStart};

use crate::cli::HistoryArgs;
use crate::confine::{self, Reach};
use crate::privilege::Keep;
use crate::session::sink::Sink;
use crate::store::interval::Interval;
use crate::store::{History, Options, Status};

/// Maximum number of events of an interval that are kept individually.
const MAX_EVENTS: usize = 1_000;

/// The current interval, and the keeper of those that have ended.
#[derive(Debug)]
pub struct Remembering {
    history: History,
    tally: Tally,
    notable: Notable,
    interval: Duration,
    due: Instant,
}

impl Remembering {
    /// Begins an interval here; `None` if there is no history.
    ///
    /// # Errors
    /// If the history can't be opened.
    pub fn start(
        args: &HistoryArgs,
        tracing_start: TracingStart,
        filter: Filter,
        slow_port_ns: u64,
    ) -> Result<Option<Self>> {
        let Some(directory) = args.directory.clone() else {
            return Ok(None);
        };
        let confined = directory.clone();
        let confine = move || {
            confine::warn_on_failure(confine::confine(Keep::Nothing, Reach::Directory(&confined)));
        };
        let history = History::start(
            Options {
                directory: directory.clone(),
                max_age: args.max_age,
                max_bytes: args.max_size,
            },
            confine,
        )
        .with_context(|| format!("the history in {}", directory.display()))?;
        Ok(Some(Self {
            history,
            tally: Tally::new(tracing_start, filter).with_recent_rates(),
            notable: Notable::new(MAX_EVENTS, slow_port_ns),
            interval: args.interval,
            due: Instant::now() + args.interval,
        }))
    }

    /// Whether the interval is over.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Ends the interval here and begins the next.
    pub fn end_interval(&mut self, at: Moment) {
        self.tally.reached(at);
        let interval = Interval::of(&self.tally, self.notable.take());
        self.history.put(interval);
        self.tally.begin_interval(self.tally.latest());
        // After a late interval, the next one still has at least half of its length.
        self.due = (self.due + self.interval).max(Instant::now() + self.interval / 2);
    }

    /// Also changes the filter for what follows.
    pub fn set_filter(&mut self, at: Moment, filter: Filter) {
        self.end_interval(at);
        self.tally.begin_with(filter);
    }

    /// State of the history.
    pub fn status(&self) -> Status {
        self.history.status()
    }

    /// Writes the current interval, and ends.
    pub fn stop(mut self) {
        self.end_interval(self.tally.latest());
        self.history.stop();
    }
}

impl Sink for Remembering {
    fn any_event(&mut self, event: &Event) {
        self.tally.any_event(event);
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.tally.event(event);
        self.notable.add(event);
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.tally.lost(lost);
        Ok(())
    }

    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
        match &observation.data {
            // Counts since they were last taken.
            ObservationData::Totals(taken) => self.tally.add_totals(taken),
            _ => self.tally.observe(observation.into_owned()),
        }
        Ok(())
    }
}
