//! What a source contains: a report, a timeline and a diagnosis for each host.

use anyhow::Result;
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::model::namespace::NamespaceSamples;
use twtrace_core::model::report::Report;
use twtrace_core::model::tally::Tally;
use twtrace_core::model::timeline::Timeline;

use crate::store::merge::Merged;

/// The figures of a source.
#[derive(Debug)]
pub struct Gathered {
    /// One for each host, in the order of the files.
    pub summaries: Vec<Summary>,
    /// Exit code of the command, if one was run.
    pub command_exit_code: Option<u8>,
    /// What could not be read or kept. The summaries are shown regardless.
    pub outcome: Result<()>,
}

/// The figures of one host.
#[derive(Debug)]
pub enum Summary {
    /// Counted from events and observations.
    Counted(Box<Tally>),
    /// Combined intervals of a history.
    Stored {
        merged: Box<Merged>,
        /// Settings and counters of namespaces at the beginning and at the end.
        samples: (NamespaceSamples, NamespaceSamples),
    },
}

impl Summary {
    pub fn report(&self) -> Report {
        match self {
            Self::Counted(tally) => tally.report(),
            Self::Stored { merged, .. } => merged.report.clone(),
        }
    }

    /// The same in less memory, if nothing else is needed afterwards.
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

    /// The findings, by [`Self::report`].
    pub fn diagnosis(&self, report: Report) -> Diagnosis {
        match self {
            Self::Counted(tally) => Diagnosis::of(tally, report),
            Self::Stored { merged, samples } => merged.diagnosis(report, samples.clone()),
        }
    }
}
