//! The history: what happened in each interval, in an SQLite file of one directory. `docs/history.md` describes its
//! tables.
//!
//! One thread writes it, with a transaction for each interval, so that a killed process loses nothing that was
//! committed. If the disk refuses, intervals wait and tracing continues.

mod columns;
mod database;
pub mod error;
mod fold;
mod guard;
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
use keeper::{Keeper, Shared};

/// Size of a nearly empty history, with some room, bytes.
const MIN_BYTES: u64 = 4 << 20;
/// Intervals in the queue to the thread.
const QUEUED: usize = 8;
/// How long stopping waits for a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Directory and limits of a history.
#[derive(Clone, Debug)]
pub struct Options {
    /// Created if it does not exist.
    pub directory: PathBuf,
    /// Older intervals are removed.
    pub max_age: Duration,
    /// If the history would exceed this, the oldest intervals are removed.
    pub max_bytes: u64,
}

/// State of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Intervals that were written.
    pub writes: u64,
    /// How often the disk refused.
    pub failures: u64,
    /// Intervals that are not kept, because the disk was too slow or refused for too long.
    pub dropped: u64,
    /// Whether the disk refuses now.
    pub is_failing: bool,
    /// Size of the files.
    pub size_bytes: u64,
    /// When the oldest interval began; `None` if there is none.
    pub oldest: Option<Timestamp>,
}

/// A history that is being written.
#[derive(Debug)]
pub struct History {
    queue: SyncSender<Box<Interval>>,
    ended: Receiver<()>,
    shared: Arc<Shared>,
}

impl History {
    /// Opens or creates the history, and starts the thread that writes it. `confine` is called in that thread, before
    /// it writes anything.
    ///
    /// # Errors
    /// If the directory can't be written, is in use, or has what this twtrace does not know. A damaged history is set
    /// aside, and a disk that is full or read-only is waited for, each with a warning.
    pub fn start(
        options: Options,
        confine: impl FnOnce() + Send + 'static,
    ) -> Result<Self, StoreError> {
        if options.max_bytes < MIN_BYTES {
            return Err(StoreError::TooSmall);
        }
        let shared = Arc::new(Shared::default());
        let keeper = Keeper::open(options, shared.clone())?;
        let (queue, intervals) = mpsc::sync_channel(QUEUED);
        let (end, ended) = mpsc::channel();
        thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                confine();
                keep(keeper, &intervals);
                // Nobody waits any more if the disk took too long.
                let _ = end.send(());
            })
            .map_err(StoreError::Thread)?;
        Ok(Self {
            queue,
            ended,
            shared,
        })
    }

    /// Queues an interval, without waiting. If the queue is full, the interval is dropped and counted.
    pub fn put(&self, interval: Interval) {
        match self.queue.try_send(Box::new(interval)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.shared.dropped(),
        }
    }

    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Writes the queued intervals, and ends. Waits for a slow disk, but not forever.
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
