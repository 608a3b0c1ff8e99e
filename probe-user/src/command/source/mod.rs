//! Where figures come from: this host, recordings, or a history. All verbs use the same interface.

pub mod history;
pub mod live;
pub mod measure;
pub mod names;
mod netns_names;
pub mod replay;
pub mod summary;

use std::path::Path;

use anyhow::Result;

use crate::cli::{FromArgs, StoreArgs};
use crate::command::offline;
use measure::Measurement;
use replay::Replay;
use summary::Gathered;

/// Where figures come from.
#[derive(Clone, Copy, Debug)]
pub enum FigureSource<'a> {
    /// This host, from now on.
    Live,
    /// Recordings, of one or more hosts.
    Recording(&'a FromArgs),
    /// The history that `serve` keeps in this directory.
    History(&'a Path, &'a FromArgs),
}

impl<'a> FigureSource<'a> {
    /// The source that the command line requests; at most one of both options is given.
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

    /// Confines the process to reading it, unless this host is traced, and to writing beside `outputs`, which are open.
    pub fn confine(self, outputs: &[Option<&Path>]) {
        match self {
            Self::Live => {}
            Self::Recording(from) => offline::read_only_from(&from.from, outputs),
            Self::History(directory, _) => offline::read_only_from_history(directory, outputs),
        }
    }

    /// Sums up the source, as far as it passes the filter of `measurement`. The rest of `measurement` is for this
    /// host.
    ///
    /// # Errors
    /// If there are no figures: the filter asks for what does not exist, the kernel refuses, or nothing can be read.
    pub async fn gather(self, measurement: Measurement<'_>) -> Result<Gathered> {
        let filter = measurement.options.filter;
        match self {
            Self::Live => measurement.run().await,
            Self::Recording(from) => Replay::open(from, filter)?.count(),
            Self::History(directory, window) => history::read(directory, window, filter),
        }
    }
}
