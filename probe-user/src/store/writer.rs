//! Writes intervals, each in one transaction.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};
use twtrace_core::event::Timestamp;
use twtrace_core::model::budget::row::OtherBudgets;
use twtrace_core::model::memory::CacheRow;
use twtrace_core::model::namespace::NamespaceSamples;
use twtrace_core::model::report::UnscannedRow;
use twtrace_wire::Side;

use super::columns::{Values, integer};
use super::database;
use super::error::StoreError;
use super::retention::{self, AgeClock};
use super::write_rows::RowWriter;
use crate::record::observation::namespaces;
use crate::store::interval::Interval;

/// Compression level of the settings.
const LEVEL: i32 = 3;

/// What an interval has besides its rows.
#[derive(Serialize, Deserialize)]
pub struct IntervalRest {
    /// Budgets without a row.
    pub other_budgets: OtherBudgets,
    /// Namespaces whose budgets are not known.
    pub budgets_unknown: Vec<UnscannedRow>,
    /// Namespaces that could not be searched for CLOSE_WAIT.
    pub unscanned: Vec<UnscannedRow>,
    pub caches: Vec<CacheRow>,
    /// Runs of our programs that the kernel skipped.
    pub recursion_misses: Option<Vec<(String, u64)>>,
}

#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the open file.
    identity: Option<(u64, u64)>,
    boot_id: String,
    run_id: Option<i64>,
    clock: AgeClock,
    /// CLOCK_MONOTONIC at the end of the interval that was written last.
    written_to_ns: Option<u64>,
}

impl Writer {
    /// Opens the history of a directory.
    ///
    /// # Errors
    /// If it is another program's, has a later version, or the disk refuses.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let connection = database::open_to_write(directory)?;
        let path = database::path_in(directory);
        let kept: Option<i64> = connection
            .query_row(
                "SELECT kept_unix_ns FROM interval ORDER BY id DESC LIMIT 1",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(|source| database::read_error(&path, source))?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            identity: database::identity(&path),
            connection,
            path,
            boot_id: boot_id.trim().to_owned(),
            run_id: None,
            clock: AgeClock::from(kept.and_then(|kept| u64::try_from(kept).ok()).unwrap_or(0)),
            written_to_ns: None,
        })
    }

    /// Whether the file still exists under its name: somebody may have removed it.
    pub fn is_there(&self) -> bool {
        self.identity.is_some() && database::identity(&self.path) == self.identity
    }

    /// Writes an interval and returns its id.
    ///
    /// # Errors
    /// SQLite's error. Nothing is written then.
    pub fn write(&mut self, interval: &Interval) -> rusqlite::Result<i64> {
        let mut clock = self.clock;
        let kept_unix_ns = clock.reached(interval.end);
        let follows = self.written_to_ns == Some(interval.start.mono_ns);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let run_id = match self.run_id {
            Some(run_id) => run_id,
            None => insert_run(&transaction, interval, &self.boot_id)?,
        };
        let id: i64 =
            transaction.query_row("SELECT coalesce(max(id), 0) + 1 FROM interval", [], |row| {
                row.get(0)
            })?;
        insert_interval(&transaction, id, run_id, interval, kept_unix_ns, follows)?;
        let rows = RowWriter {
            connection: &transaction,
            interval_id: id,
        };
        rows.all(interval)?;
        transaction.commit()?;
        self.clock = clock;
        self.run_id = Some(run_id);
        self.written_to_ns = Some(interval.end.mono_ns);
        Ok(id)
    }

    /// Moves the log into the file, and removes what is too old or exceeds the size.
    pub fn tidy(&mut self, max_age_ns: u64, max_bytes: u64) -> rusqlite::Result<()> {
        self.checkpoint()?;
        let before_ns = self.clock.now_ns().saturating_sub(max_age_ns);
        if retention::forget_before(&mut self.connection, integer(before_ns))? {
            self.checkpoint()?;
        }
        // What is written between two checkpoints must fit, too.
        let limit = max_bytes - max_bytes / 16;
        while self.used_bytes()? > limit && retention::forget_part(&mut self.connection)? {
            self.checkpoint()?;
        }
        if self.size_bytes() > limit {
            retention::give_back(&self.connection)?;
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Moves the log into the file. Readers may keep some of it in the log.
    pub fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("PRAGMA wal_checkpoint(TRUNCATE)")?
            .query_row([], |_| Ok(()))
    }

    /// Bytes of the pages in use.
    fn used_bytes(&self) -> rusqlite::Result<u64> {
        let number = |pragma: &str| -> rusqlite::Result<u64> {
            self.connection
                .pragma_query_value(None, pragma, |row| row.get(0))
        };
        Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
    }

    /// Size of its files.
    pub fn size_bytes(&self) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        length(&self.path) + length(&self.path.with_extension("db-wal"))
    }

    /// When the oldest interval began.
    pub fn oldest(&self) -> rusqlite::Result<Option<Timestamp>> {
        retention::oldest(&self.connection)
    }
}

fn insert_run(
    connection: &Transaction<'_>,
    interval: &Interval,
    boot_id: &str,
) -> rusqlite::Result<i64> {
    Values::default()
        .put(None::<i64>)
        .number(interval.start.ts.0)
        .put(boot_id.to_owned())
        .put(interval.host.name.clone())
        .put(interval.host.kernel.clone())
        .put(env!("CARGO_PKG_VERSION").to_owned())
        .json(&interval.tiers)?
        .insert(connection, "run")?;
    Ok(connection.last_insert_rowid())
}

fn insert_interval(
    connection: &Transaction<'_>,
    id: i64,
    run_id: i64,
    interval: &Interval,
    kept_unix_ns: u64,
    follows: bool,
) -> rusqlite::Result<()> {
    let Interval {
        start,
        end,
        sum,
        exact,
        ..
    } = interval;
    let rest = IntervalRest {
        other_budgets: interval.other_budgets,
        budgets_unknown: interval.budgets_unknown.clone(),
        unscanned: interval.unscanned.clone(),
        caches: interval.caches.clone(),
        recursion_misses: interval.recursion_misses.as_ref().map(|misses| {
            let misses = misses.iter();
            misses.map(|row| (row.program.clone(), row.count)).collect()
        }),
    };
    let before = if follows {
        None
    } else {
        compressed(&interval.before)?
    };
    Values::default()
        .put(id)
        .put(run_id)
        .number(start.ts.0)
        .number(end.ts.0)
        .number(start.mono_ns)
        .number(end.mono_ns)
        .number(kept_unix_ns)
        .number(sum.time_wait.of(Side::Client))
        .number(sum.time_wait.of(Side::Server))
        .number(sum.time_wait.of(Side::Unknown))
        .number(sum.overflow)
        .number(sum.reset_sent)
        .number(sum.reset_received)
        .number(sum.port_failures)
        .number(sum.lost)
        .put(exact.processes)
        .put(exact.destinations)
        .put(exact.refused_reuse)
        .put(exact.ends)
        .number(interval.processes_folded)
        .number(interval.pairs_left_out)
        .number(interval.events_left_out)
        .json(&rest)?
        .put(before)
        .put(compressed(&interval.after)?)
        .insert(connection, "interval")
}

/// Settings and counters of namespaces; `None` if none are known.
fn compressed(samples: &NamespaceSamples) -> rusqlite::Result<Option<Vec<u8>>> {
    if samples.is_empty() {
        return Ok(None);
    }
    let compress = || -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let json = serde_json::to_vec(&namespaces::body(samples))?;
        Ok(zstd::bulk::compress(&json, LEVEL)?)
    };
    compress()
        .map(Some)
        .map_err(rusqlite::Error::ToSqlConversionFailure)
}
