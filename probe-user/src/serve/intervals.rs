//! What a service counts interval after interval: each is diagnosed as it ends, and passed to the history, if there is one.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use twtrace_core::doctor::finding::FindingCounts;
use twtrace_core::event::{Event, Lost, Moment};
use twtrace_core::filter::Filter;
use twtrace_core::model::notable::Notable;
use twtrace_core::model::observation::{Observation, ObservationData};
use twtrace_core::model::tally::{Tally, TracingStart};

use crate::attempts::Attempts;
use crate::cli::{Findings, HistoryArgs};
use crate::confine::{self, Reach};
use crate::privilege::Keep;
use crate::session::sink::Sink;
use crate::store::interval::Interval;
use crate::store::{History, Options, Status};
use crate::system_calls::{self, Extent, Work};

/// Maximum number of events of an interval that are kept individually.
const MAX_EVENTS: usize = 1_000;
/// Length of an interval if there is no history: as `doctor` counts.
const OF_FINDINGS: Duration = Duration::from_secs(10);

/// The current interval, the keeper of those that have ended, and the findings about the last one.
#[derive(Debug)]
pub struct Intervals {
    /// `None` if there is no history.
    history: Option<History>,
    tally: Tally,
    notable: Notable,
    interval: Duration,
    due: Instant,
    exports_findings: bool,
    /// Whether this interval has a sample of sockets.
    is_sampled: bool,
    findings: Option<FindingCounts>,
}

impl Intervals {
    /// Begins an interval here; `None` if nobody wants any.
    ///
    /// # Errors
    /// If there is to be a history and it can't be opened.
    pub fn start(
        findings: Findings,
        args: &HistoryArgs,
        tracing_start: TracingStart,
        filter: Filter,
        slow_port_ns: u64,
    ) -> Result<Option<Self>> {
        let history = args.directory.as_deref().map(|it| open(it, args));
        let history = history.transpose()?;
        let (interval, max_events) = match (&history, findings) {
            (Some(_), _) => (args.interval, MAX_EVENTS),
            (None, Findings::On) => (OF_FINDINGS, 0),
            (None, Findings::Off) => return Ok(None),
        };
        Ok(Some(Self {
            history,
            tally: Tally::new(tracing_start, filter).with_recent_rates(),
            notable: Notable::new(max_events, slow_port_ns),
            interval,
            due: Instant::now() + interval,
            exports_findings: findings == Findings::On,
            is_sampled: false,
            findings: None,
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
        // Without a sample there is nothing to judge port pools and settings by.
        if std::mem::take(&mut self.is_sampled) {
            self.findings = Some(FindingCounts::of(at.ts, &interval.findings));
        }
        if let Some(history) = &self.history {
            history.put(interval);
        }
        self.tally.begin_interval(self.tally.latest());
        // After a late interval, the next one still has at least half of its length.
        self.due = (self.due + self.interval).max(Instant::now() + self.interval / 2);
    }

    /// Also changes the filter for what follows.
    pub fn set_filter(&mut self, at: Moment, filter: Filter) {
        self.end_interval(at);
        self.tally.begin_with(filter);
    }

    /// The findings about the last interval; `None` before the first has ended, and if nobody wants them.
    pub fn findings(&self) -> Option<&FindingCounts> {
        self.findings.as_ref().filter(|_| self.exports_findings)
    }

    /// State of the history; `None` if there is none.
    pub fn history_status(&self) -> Option<Status> {
        self.history.as_ref().map(History::status)
    }

    /// Writes the current interval, and ends.
    pub fn stop(mut self) {
        self.end_interval(self.tally.latest());
        if let Some(history) = self.history {
            history.stop();
        }
    }
}

fn open(directory: &Path, args: &HistoryArgs) -> Result<History> {
    let confined = directory.to_owned();
    let confine = move || {
        let attempts = Attempts::of("history");
        let directory = existing(&confined);
        confine::warn_on_failure(confine::confine(Keep::Nothing, Reach::Directory(directory)));
        let restricted = system_calls::restrict_to(Work::KeepHistory, Extent::Thread);
        system_calls::warn_on_failure(restricted);
        attempts.run();
    };
    let options = Options {
        directory: directory.to_owned(),
        max_age: args.max_age,
        max_bytes: args.max_size,
    };
    History::start(options, confine)
        .with_context(|| format!("the history in {}", directory.display()))
}

/// The directory, or what exists of its path: on a read-only disk it can't be created yet.
fn existing(directory: &Path) -> &Path {
    let ancestors = directory.ancestors();
    let mut named = ancestors.map(|it| match it.as_os_str().is_empty() {
        true => Path::new("."),
        false => it,
    });
    named.find(|it| it.is_dir()).unwrap_or(directory)
}

impl Sink for Intervals {
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
            ObservationData::Sockets(_) => {
                self.is_sampled = true;
                self.tally.observe(observation.into_owned());
            }
            _ => self.tally.observe(observation.into_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_confined_to_what_exists_of_its_path() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(existing(directory.path()), directory.path());
        let none = directory.path().join("none/none");
        assert_eq!(existing(&none), directory.path());
        for path in ["no-such-directory", "no-such-directory/none"] {
            assert_eq!(existing(Path::new(path)), Path::new("."), "{path}");
        }
    }
}
