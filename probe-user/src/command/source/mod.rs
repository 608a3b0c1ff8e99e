//! Where figures come from: this host, recordings, or a history. Verbs ask all of them the same way.

pub mod history;
pub mod live;
pub mod measure;
pub mod replay;
pub mod summary;

use std::path::Path;

use anyhow::Result;

use crate::cli::{FromArgs, StoreArgs};
use measure::Measurement;
use replay::Replay;
use summary::Gathered;

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
