//! Where figures come from: this host, recordings, or a history. Verbs ask all of them the same way.

pub mod history;
pub mod live;
pub mod measure;
pub mod replay;

use std::path::Path;

use anyhow::Result;
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::model::namespace::Looks;
use twtrace_core::model::report::Report;
use twtrace_core::model::tally::Tally;
use twtrace_core::model::timeline::Timeline;

use crate::cli::{FromArgs, StoreArgs};
use crate::store::merge::Merged;
use measure::Measurement;
use replay::Replay;

/// Where figures come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// This host, from now on.
    Live,
    /// Recordings, of one or more hosts.
    Recording(&'a FromArgs),
    /// The history that `serve` keeps in this directory.
    History(&'a Path, &'a FromArgs),
}

impl<'a> Source<'a> {
    /// The one that the command line asks for; it takes one of both options at most.
    pub fn of(from: &'a FromArgs, store: &'a StoreArgs) -> Self {
        match &store.store {
            Some(directory) => Self::History(directory, from),
            None if from.is_given() => Self::Recording(from),
            None => Self::Live,
        }
    }

    /// Whether this host is traced.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Live)
    }

    /// Sums up what it tells, of what passes the filter of `measurement`. The rest of that is for this host.
    ///
    /// # Errors
    /// When there is nothing to be had: the filter asks for what is not there, the kernel refuses, or nothing can be
    /// read.
    pub async fn gather(self, measurement: Measurement<'_>) -> Result<Gathered> {
        let filter = measurement.order.filter;
        match self {
            Self::Live => measurement.run().await,
            Self::Recording(from) => Replay::open(from, filter)?.count(),
            Self::History(directory, window) => history::read(directory, window, filter),
        }
    }
}

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
