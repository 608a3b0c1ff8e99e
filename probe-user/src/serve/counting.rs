//! What a service counts: series for as long as it runs, and intervals for its history.

use anyhow::Result;
use twtrace_core::event::{Event, Lost, Moment};
use twtrace_core::filter::Filter;
use twtrace_core::model::observation::{Observation, Seen};
use twtrace_core::model::series::Series;

use super::remembering::Remembering;
use crate::session::Sink;

/// Takes everything that tracing finds.
#[derive(Debug)]
pub struct Counting {
    /// What is scraped.
    pub series: Series,
    /// What is remembered, if anything is.
    pub remembering: Option<Remembering>,
}

impl Counting {
    /// Counts what passes this filter from here on.
    pub fn set_filter(&mut self, at: Moment, filter: &Filter) {
        self.series.set_filter(filter.clone());
        if let Some(remembering) = &mut self.remembering {
            remembering.set_filter(at, filter.clone());
        }
    }
}

impl Sink for Counting {
    fn any_event(&mut self, event: &Event) {
        self.series.any_event(event);
        if let Some(remembering) = &mut self.remembering {
            remembering.any_event(event);
        }
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        self.series.event(event);
        if let Some(remembering) = &mut self.remembering {
            remembering.event(event);
        }
        Ok(())
    }

    fn lost(&mut self, lost: &Lost) -> Result<()> {
        self.series.lost(lost);
        if let Some(remembering) = &mut self.remembering {
            remembering.lost(lost);
        }
        Ok(())
    }

    fn observed(&mut self, observation: Observation) -> Result<()> {
        match &observation.seen {
            // Of the time since they were last taken.
            Seen::Totals(taken) => self.series.add_totals(taken),
            _ => self.series.observe(&observation),
        }
        if let Some(remembering) = &mut self.remembering {
            remembering.observed(observation);
        }
        Ok(())
    }
}
