//! The history: what happened in each interval, in an SQLite file of one directory. `docs/history.md` describes its
//! tables.
//!
//! One thread writes it, a transaction for each interval, so that a process that is killed loses nothing that was
//! committed. What the disk refuses waits, and tracing goes on.

mod columns;
mod database;
pub mod error;
pub mod interval;
mod keeper;
pub mod merge;
mod read_rows;
pub mod reader;
mod retention;
pub mod span;
mod write_rows;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

pub use error::StoreError;

use twtrace_core::event::Timestamp;

use crate::store::interval::Interval;
use database::Lock;
use keeper::{Keeper, Shared};

/// What a history takes with next to nothing in it, bytes, and some room.
const MIN_BYTES: u64 = 4 << 20;
/// Intervals on their way to the thread.
const QUEUED: usize = 8;
/// How long the end waits for a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where, and how much.
#[derive(Clone, Debug)]
pub struct Options {
    /// Made if it is not there.
    pub directory: PathBuf,
    /// What is older is forgotten.
    pub max_age: Duration,
    /// When it would take more, the oldest is forgotten.
    pub max_bytes: u64,
}

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Intervals that were written.
    pub writes: u64,
    /// Times that the disk refused.
    pub failures: u64,
    /// Intervals that are not kept: the disk was too slow, or refused for too long.
    pub dropped: u64,
    /// Whether the disk refuses now.
    pub is_failing: bool,
    /// What the files take.
    pub size_bytes: u64,
    /// When the oldest interval began; `None` where there is none.
    pub oldest: Option<Timestamp>,
}

/// A history that is written.
#[derive(Debug)]
pub struct History {
    queue: SyncSender<Box<Interval>>,
    ended: Receiver<()>,
    shared: Arc<Shared>,
}

impl History {
    /// Opens the history, or makes one, and starts the thread that writes it. `confine` is called in that thread,
    /// before it writes anything.
    ///
    /// # Errors
    /// When the directory can't be written, is in use, or has what this twtrace does not know. What is damaged is
    /// put aside, with a warning; a full disk is waited for, with another.
    pub fn start(
        options: Options,
        confine: impl FnOnce() + Send + 'static,
    ) -> Result<Self, StoreError> {
        if options.max_bytes < MIN_BYTES {
            return Err(StoreError::TooSmall);
        }
        let lock = Lock::take(&options.directory)?;
        let shared = Arc::new(Shared::default());
        let keeper = Keeper::open(options, shared.clone())?;
        let (queue, intervals) = mpsc::sync_channel(QUEUED);
        let (end, ended) = mpsc::channel();
        thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                confine();
                keep(keeper, &intervals);
                drop(lock);
                // Nobody waits any longer if the disk took too long.
                let _ = end.send(());
            })
            .map_err(StoreError::Thread)?;
        Ok(Self {
            queue,
            ended,
            shared,
        })
    }

    /// Hands an interval over. Does not wait: what the thread has no room for is not kept, and counted.
    pub fn put(&self, interval: Interval) {
        match self.queue.try_send(Box::new(interval)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.shared.dropped(),
        }
    }

    /// How it goes.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Writes what is on its way, and ends. Waits for a slow disk, but not for ever.
    pub fn stop(self) {
        let Self { queue, ended, .. } = self;
        drop(queue);
        if ended.recv_timeout(PATIENCE).is_err() {
            log::warn!(
                "the history is still being written after {PATIENCE:?}: its end is left out"
            );
        }
    }
}

fn keep(mut keeper: Keeper, intervals: &Receiver<Box<Interval>>) {
    for interval in intervals {
        keeper.take(interval, |_| {});
    }
    keeper.finish();
}

#[cfg(test)]
pub mod samples;
#[cfg(test)]
mod tests;
