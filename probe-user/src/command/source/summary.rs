//! What a source told: of each host a report, a timeline and a diagnosis.

use anyhow::Result;
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::model::namespace::Looks;
use twtrace_core::model::report::Report;
use twtrace_core::model::tally::Tally;
use twtrace_core::model::timeline::Timeline;

use crate::store::merge::Merged;

/// What a source told.
#[derive(Debug)]
pub struct Gathered {
    /// One for each host, in the order of the files.
    pub summaries: Vec<Summary>,
    /// How the command ended, where one was run.
    pub command_exit_code: Option<u8>,
    /// What could not be read, or not be kept. It does not keep the summaries from being shown.
    pub outcome: Result<()>,
}

/// What is known of one host.
#[derive(Debug)]
pub enum Summary {
    /// Counted from events and observations.
    Counted(Box<Tally>),
    /// Intervals of a history, put together.
    Stored {
        /// Their figures.
        merged: Box<Merged>,
        /// Settings and counters of namespaces at the beginning and at the end.
        looks: (Looks, Looks),
    },
}

impl Summary {
    /// The figures.
    pub fn report(&self) -> Report {
        match self {
            Self::Counted(tally) => tally.report(),
            Self::Stored { merged, .. } => merged.report.clone(),
        }
    }

    /// The same where nothing else is asked for afterwards: in less memory.
    pub fn into_report(self) -> Report {
        match self {
            Self::Counted(tally) => tally.into_report(),
            Self::Stored { merged, .. } => merged.report,
        }
    }

    /// What happened when.
    pub fn timeline(&self) -> Timeline {
        match self {
            Self::Counted(tally) => tally.timeline(),
            Self::Stored { merged, .. } => merged.timeline.clone(),
        }
    }

    /// What is wrong, going by [`Self::report`].
    pub fn diagnosis(&self, report: Report) -> Diagnosis {
        match self {
            Self::Counted(tally) => Diagnosis::of(tally, report),
            Self::Stored { merged, looks } => merged.diagnosis(report, looks.clone()),
        }
    }
}
