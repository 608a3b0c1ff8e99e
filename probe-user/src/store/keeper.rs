//! The history's thread: writes intervals, and copes with a disk that refuses.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use twtrace_core::event::Timestamp;

use super::database::Lock;
use super::error::{StoreError, is_damage};
use super::writer::Writer;
use super::{Options, Status};
use crate::store::interval::Interval;

/// Intervals that wait while the disk refuses. Beyond these the oldest is dropped.
const MAX_PENDING: usize = 30;

/// State that other threads read.
#[derive(Debug, Default)]
pub struct Shared {
    writes: AtomicU64,
    failures: AtomicU64,
    dropped: AtomicU64,
    is_failing: AtomicBool,
    size_bytes: AtomicU64,
    /// 0 if there is none.
    oldest_unix_ns: AtomicU64,
}

impl Shared {
    pub fn status(&self) -> Status {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let oldest = number(&self.oldest_unix_ns);
        // Read before the flag, which is set before the count.
        let failures = self.failures.load(Ordering::Acquire);
        Status {
            writes: number(&self.writes),
            failures,
            dropped: number(&self.dropped),
            is_failing: self.is_failing.load(Ordering::Relaxed),
            size_bytes: number(&self.size_bytes),
            oldest: (oldest > 0).then_some(Timestamp(oldest)),
        }
    }

    /// Notes that something could not be written. The flag is set before the count, so a reader that sees the count sees
    /// the flag.
    fn failed(&self) {
        self.is_failing.store(true, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Release);
    }

    /// Counts an interval that is not kept.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes intervals, and retries.
#[derive(Debug)]
pub struct Keeper {
    /// `None` while the file can't be opened.
    writer: Option<Writer>,
    /// `None` while it can't be taken.
    lock: Option<Lock>,
    directory: PathBuf,
    max_age_ns: u64,
    max_bytes: u64,
    pending: VecDeque<Box<Interval>>,
    shared: Arc<Shared>,
}

impl Keeper {
    /// Opens the history of a directory. If the disk refuses, intervals wait at first.
    ///
    /// # Errors
    /// If the history can't be opened, and the cause is not temporary.
    pub fn open(options: Options, shared: Arc<Shared>) -> Result<Self, StoreError> {
        let mut keeper = Self {
            writer: None,
            lock: None,
            directory: options.directory,
            max_age_ns: u64::try_from(options.max_age.as_nanos()).unwrap_or(u64::MAX),
            max_bytes: options.max_bytes,
            pending: VecDeque::new(),
            shared,
        };
        match keeper.open_writer() {
            Ok(_) => {}
            Err(error) if error.is_passing() => {
                keeper.shared.failed();
                log_failure(error);
            }
            Err(error) => return Err(error),
        }
        keeper.record_size();
        Ok(keeper)
    }

    fn open_writer(&mut self) -> Result<&mut Writer, StoreError> {
        if self.lock.is_none() {
            self.lock = Some(Lock::take(&self.directory)?);
        }
        match &mut self.writer {
            Some(writer) => Ok(writer),
            closed => Ok(closed.insert(Writer::open(&self.directory)?)),
        }
    }

    /// Takes an interval, and writes it and those that wait. Calls `written` with the id of each.
    pub fn take(&mut self, interval: Box<Interval>, written: impl FnMut(i64)) {
        self.pending.push_back(interval);
        if self.pending.len() > MAX_PENDING {
            self.pending.pop_front();
            self.shared.dropped();
        }
        self.write_pending(written);
    }

    /// Writes the intervals that wait, if the disk permits, and ends.
    pub fn finish(mut self) {
        self.write_pending(|_| {});
        let lost = self.pending.len();
        for _ in 0..lost {
            self.shared.dropped();
        }
        if lost > 0 {
            log::warn!("the last {lost} intervals are not in the history");
        }
    }

    fn write_pending(&mut self, mut written: impl FnMut(i64)) {
        let was_failing = self.shared.is_failing.load(Ordering::Relaxed);
        let waited = self.pending.len();
        match self.try_pending(&mut written) {
            Ok(()) => {
                if was_failing {
                    log::warn!(
                        "the history continues in {}; {waited} intervals that had waited are in it",
                        self.directory.display()
                    );
                }
                self.shared.is_failing.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                if !was_failing {
                    log_failure(error);
                }
                self.shared.failed();
            }
        }
        self.record_size();
    }

    fn try_pending(&mut self, written: &mut impl FnMut(i64)) -> Result<(), StoreError> {
        if self
            .writer
            .as_ref()
            .is_some_and(|writer| !writer.is_there())
        {
            log::warn!(
                "the history in {} was removed: a new one begins",
                self.directory.display()
            );
            self.writer = None;
        }
        while let Some(interval) = self.pending.pop_front() {
            let result = self.open_writer().map(|writer| writer.write(&interval));
            if !matches!(result, Ok(Ok(_))) {
                self.pending.push_front(interval);
            }
            match result? {
                Ok(id) => {
                    self.shared.writes.fetch_add(1, Ordering::Relaxed);
                    written(id);
                }
                Err(source) => return Err(self.gave_up(source)),
            }
        }
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        match writer.tidy(self.max_age_ns, self.max_bytes) {
            Ok(()) => Ok(()),
            Err(source) => Err(self.gave_up(source)),
        }
    }

    /// Reopens a damaged file, which sets it aside.
    fn gave_up(&mut self, source: rusqlite::Error) -> StoreError {
        if is_damage(&source) {
            self.writer = None;
        }
        super::database::read_error(&super::database::path_in(&self.directory), source)
    }

    fn record_size(&self) {
        let Some(writer) = &self.writer else {
            return;
        };
        let size_bytes = writer.size_bytes();
        self.shared.size_bytes.store(size_bytes, Ordering::Relaxed);
        if let Ok(oldest) = writer.oldest() {
            let oldest = oldest.map_or(0, |oldest| oldest.0);
            self.shared.oldest_unix_ns.store(oldest, Ordering::Relaxed);
        }
    }
}

fn log_failure(error: StoreError) {
    let error = anyhow::Error::from(error);
    log::warn!(
        "the history can't be written: {error:#}. Tracing continues; up to {MAX_PENDING} intervals wait"
    );
}
