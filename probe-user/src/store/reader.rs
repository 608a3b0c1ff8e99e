//! Reads intervals back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use twtrace_core::event::{Moment, Process, Timestamp};
use twtrace_core::model::host::Host;
use twtrace_core::model::namespace::NamespaceSamples;

use super::columns::{Cells, integer};
use super::database;
use super::error::StoreError;
use super::guard::{Allowance, Deadline};
use super::read_rows::{RowReader, Run};
use crate::record::observation::namespaces;
use crate::store::interval::Interval;

/// Processes that are kept in memory while intervals are read.
const MAX_KNOWN: usize = 65_536;
/// Limit for the text of all namespaces' settings, bytes; no twtrace writes more.
const MAX_LOOKS: usize = 64 << 20;

/// A time span, from `since`, inclusive, to `until`, exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// `None`: from the beginning.
    pub since: Option<Timestamp>,
    /// `None`: to the end.
    pub until: Option<Timestamp>,
}

/// Position of an interval in the history.
#[derive(Clone, Debug)]
pub struct IntervalPosition {
    /// Grows with time, even if the clock is set back.
    pub id: i64,
    run_id: i64,
    pub boot_id: Arc<str>,
    pub start: Moment,
    pub end: Moment,
}

/// A history that is being read.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    deadline: Deadline,
    path: PathBuf,
    runs: HashMap<i64, Run>,
    known: HashMap<i64, Process>,
}

impl Reader {
    /// Opens the history of a directory. Another process may continue to write it.
    ///
    /// # Errors
    /// If there is none, or it is not of this version.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let (connection, deadline) = database::open_to_read(directory)?;
        let mut reader = Self {
            connection,
            deadline,
            path: database::path_in(directory),
            runs: HashMap::new(),
            known: HashMap::new(),
        };
        // All reads see one moment, whatever is written or removed in between.
        let begun = reader.connection.execute_batch("BEGIN");
        reader.with_path(begun)?;
        let runs = reader.read_runs();
        reader.runs = reader.with_path(runs)?;
        Ok(reader)
    }

    /// When the history begins and ends; `None` if it is empty.
    pub fn extent(&self) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        self.deadline.extend();
        let extent = self.connection.query_row(
            "SELECT min(start_unix_ns), max(end_unix_ns) FROM interval",
            [],
            |row| {
                let mut cells = Cells::of(row);
                Ok(cells.optional()?.zip(cells.optional()?))
            },
        );
        let extent = self.with_path(extent)?;
        Ok(extent.map(|(start, end)| (Timestamp(start), Timestamp(end))))
    }

    /// The intervals within a time span, wholly or in part, in order.
    pub fn places(&self, span: Span) -> Result<Vec<IntervalPosition>, StoreError> {
        self.deadline.extend();
        self.with_path(self.read_places(span))
    }

    /// One interval, without its events and findings, and without settings of namespaces.
    pub fn interval(&mut self, place: &IntervalPosition) -> Result<Interval, StoreError> {
        if self.known.len() > MAX_KNOWN {
            self.known.clear();
        }
        self.deadline.extend();
        let interval = self.read_interval(place);
        self.with_path(interval)
    }

    /// Settings and counters of namespaces when an interval began; empty if they are not known.
    pub fn samples_before(&self, place: &IntervalPosition) -> Result<NamespaceSamples, StoreError> {
        let own = self.with_path(self.read_samples("looks_before", place.id))?;
        if !own.is_empty() {
            return Ok(own);
        }
        // It began with those at the end of the previous interval.
        let follows = self.connection.query_row(
            "SELECT count(*) FROM interval AS now JOIN interval AS before ON before.id = now.id - 1 \
             WHERE now.id = ? AND before.run_id = now.run_id AND before.end_mono_ns = now.start_mono_ns",
            [place.id],
            |row| row.get::<_, i64>(0),
        );
        match self.with_path(follows)? {
            0 => Ok(own),
            _ => self.with_path(self.read_samples("looks_after", place.id - 1)),
        }
    }

    /// The same when it ended.
    pub fn samples_after(&self, place: &IntervalPosition) -> Result<NamespaceSamples, StoreError> {
        self.with_path(self.read_samples("looks_after", place.id))
    }

    fn with_path<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|source| database::read_error(&self.path, source))
    }

    fn read_runs(&self) -> rusqlite::Result<HashMap<i64, Run>> {
        let mut statement = self
            .connection
            .prepare("SELECT id, boot_id, host, kernel, tiers FROM run")?;
        let mut rows = statement.query([])?;
        let mut runs = HashMap::new();
        while let Some(row) = rows.next()? {
            let mut cells = Cells::of(row);
            let id = cells.take()?;
            let boot_id: String = cells.take()?;
            let host = Host {
                name: cells.take()?,
                kernel: cells.take()?,
            };
            let run = Run {
                boot_id: boot_id.into(),
                host,
                tiers: cells.json()?,
            };
            runs.insert(id, run);
        }
        Ok(runs)
    }

    fn read_places(&self, span: Span) -> rusqlite::Result<Vec<IntervalPosition>> {
        let since = span.since.map_or(0, |since| integer(since.0));
        let until = span.until.map_or(i64::MAX, |until| integer(until.0));
        // The clock may have been set back during an interval, which then ends before it begins.
        let mut statement = self.connection.prepare(
            "SELECT id, run_id, start_unix_ns, start_mono_ns, end_unix_ns, end_mono_ns FROM interval \
             WHERE max(start_unix_ns, end_unix_ns) > ?1 AND min(start_unix_ns, end_unix_ns) < ?2 ORDER BY id",
        )?;
        let places = statement.query_map([since, until], |row| {
            let mut cells = Cells::of(row);
            let (id, run_id) = (cells.take()?, cells.take()?);
            let mut moment = || -> rusqlite::Result<Moment> {
                Ok(Moment {
                    ts: Timestamp(cells.number()?),
                    mono_ns: cells.number()?,
                })
            };
            let (start, end) = (moment()?, moment()?);
            Ok(IntervalPosition {
                id,
                run_id,
                start,
                end,
                boot_id: self
                    .runs
                    .get(&run_id)
                    .map_or_else(|| "".into(), |run| run.boot_id.clone()),
            })
        })?;
        places.collect()
    }

    fn read_samples(&self, column: &str, id: i64) -> rusqlite::Result<NamespaceSamples> {
        self.deadline.extend();
        let sql = format!("SELECT {column} FROM interval WHERE id = ?");
        let blob: Option<Option<Vec<u8>>> = self
            .connection
            .prepare_cached(&sql)?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let Some(blob) = blob.flatten() else {
            return Ok(NamespaceSamples::new());
        };
        let read = || -> Result<NamespaceSamples, Box<dyn std::error::Error + Send + Sync>> {
            let json = zstd::bulk::decompress(&blob, MAX_LOOKS)?;
            Ok(namespaces::samples(serde_json::from_slice(&json)?))
        };
        read().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error)
        })
    }

    fn read_interval(&mut self, place: &IntervalPosition) -> rusqlite::Result<Interval> {
        let run = self
            .runs
            .get(&place.run_id)
            .cloned()
            .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        RowReader {
            connection: &self.connection,
            id: place.id,
            allowance: Allowance::of_interval(),
        }
        .all(run, &mut self.known)
    }
}
