//! What a service counts: series since its start, and intervals.

use std::borrow::Cow;

use anyhow::Result;
use twtrace_core::event::{Event, Lost, Moment};
use twtrace_core::filter::Filter;
use twtrace_core::model::observation::{Observation, ObservationData};
use twtrace_core::model::series::Series;

use super::intervals::Intervals;
use crate::session::sink::{Sink, Tee};

/// Counts everything that tracing reports.
#[derive(Debug)]
pub struct Counting {
    /// Series for scrapes.
    pub series: Series,
    /// Intervals for findings and for the history, if anybody wants them.
    pub intervals: Option<Intervals>,
}

impl Counting {
    /// The sink that tracing passes its events and observations to.
    pub fn sink(&mut self) -> impl Sink {
        Tee(&mut self.series, &mut self.intervals)
    }

    /// Counts what passes this filter from here on.
    pub fn set_filter(&mut self, at: Moment, filter: &Filter) {
        self.series.set_filter(filter.clone());
        if let Some(intervals) = &mut self.intervals {
            intervals.set_filter(at, filter.clone());
        }
    }
}

impl Sink for Series {
    fn any_event(&mut self, event: &Event) {
        Self::any_event(self, event);
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        Self::event(self, event);
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        Self::lost(self, lost);
        Ok(())
    }

    fn observed(&mut self, observation: Cow<'_, Observation>) -> Result<()> {
        match &observation.data {
            // Counts since they were last taken.
            ObservationData::Totals(taken) => self.add_totals(taken),
            _ => self.observe(&observation),
        }
        Ok(())
    }
}
