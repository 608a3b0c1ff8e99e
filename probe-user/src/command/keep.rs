//! Writes what is reported to a recording.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use twtrace_core::event::event_json::EventJson;
use twtrace_core::event::json;
use twtrace_core::event::{Event, Lost};
use twtrace_core::filter::Filter;
use twtrace_core::model::budget::evidence::Evidence;
use twtrace_core::model::observation::{Observation, ObservationData};

use super::start_line::StartLine;
use crate::cli::BoundsArgs;
use crate::record::observation;
use crate::record::writer::{RecordingWriter, Written};
use crate::session::sink::Sink;

/// How often sockets, settings and counters are sampled while recording.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// A recording that is being written.
pub struct RecordingKeeper {
    writer: RecordingWriter,
    event_json: EventJson,
    /// What events report of budgets, including events that are not written; `None` if all are written.
    evidence: Option<(Evidence, Filter)>,
    /// Number of events so far.
    pub events: u64,
    /// Events that were lost before they arrived here.
    pub lost: u64,
}

impl RecordingKeeper {
    /// Creates the file.
    ///
    /// # Errors
    /// If the file can't be created.
    pub fn create(path: &Path, bounds: &BoundsArgs, start: StartLine) -> Result<Self> {
        let filter = start.filter();
        let evidence = filter
            .hides_events()
            .then(|| (Evidence::default(), filter.clone()));
        // An error of its JSON form is reported here.
        start
            .append(&mut Vec::new(), 1)
            .context("making the first line")?;
        let line = move |part| {
            let mut text = Vec::new();
            // It worked before.
            let _ = start.append(&mut text, part);
            text
        };
        let writer = RecordingWriter::create(path, bounds.bounds(), bounds.force, Box::new(line))?;
        Ok(Self {
            writer,
            event_json: EventJson::default(),
            evidence,
            events: 0,
            lost: 0,
        })
    }

    fn observation(&mut self, observation: &Observation) -> Result<()> {
        // With each sample, so that a part of the recording has its own.
        if let Some((evidence, _)) = &mut self.evidence
            && matches!(
                observation.data,
                ObservationData::Sockets(_) | ObservationData::End
            )
        {
            let evidence = Observation {
                at: observation.at,
                data: ObservationData::Evidence(evidence.take()),
            };
            observation::append(self.writer.text(), &evidence)?;
        }
        Ok(observation::append(self.writer.text(), observation)?)
    }

    /// Passes on what is due. Waits while the disk is slow. Can be cancelled.
    ///
    /// # Errors
    /// If the file can't be written any more; [`Self::finish`] returns why.
    pub async fn flush_due(&mut self) -> Result<()> {
        Ok(self.writer.flush_due().await?)
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// If something could not be written.
    pub async fn finish(self) -> Result<Written> {
        Ok(self.writer.finish().await?)
    }
}

impl Sink for RecordingKeeper {
    fn any_event(&mut self, event: &Event) {
        if let Some((evidence, filter)) = &mut self.evidence
            && event.netns.is_some_and(|netns| filter.shows_netns(netns))
        {
            evidence.note(event);
        }
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.events += 1;
        Ok(self.event_json.append(self.writer.text(), event)?)
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.lost += lost.count;
        Ok(json::append(self.writer.text(), lost)?)
    }

    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
        self.observation(&observation)
    }
}
