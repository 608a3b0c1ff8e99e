//! Writes intervals: one transaction each.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};
use twtrace_core::event::decode::unattributed;
use twtrace_core::event::text::escape;
use twtrace_core::event::words::Word;
use twtrace_core::event::{Event, Facts, Flow, Process, Timestamp};
use twtrace_core::model::budget::row::OtherBudgets;
use twtrace_core::model::memory::CacheRow;
use twtrace_core::model::namespace::Looks;
use twtrace_core::model::report::UnscannedRow;
use twtrace_core::model::sums::ProcessSums;
use twtrace_wire::{ProcessKey, Side, Unattributed};

use super::columns::{Values, histogram_json, integer, netns_cell};
use super::database;
use super::error::StoreError;
use super::retention::{self, AgeClock};
use crate::record::observation::namespaces;
use crate::store::interval::Interval;

/// Of compression.
const LEVEL: i32 = 3;

/// What an interval has beside its rows.
#[derive(Serialize, Deserialize)]
pub struct Rest {
    /// Budgets without a row.
    pub other_budgets: OtherBudgets,
    /// Namespaces whose budgets are not known.
    pub budgets_unknown: Vec<UnscannedRow>,
    /// Namespaces that could not be searched for CLOSE_WAIT.
    pub unscanned: Vec<UnscannedRow>,
    /// The kernel's tables.
    pub caches: Vec<CacheRow>,
    /// Runs of our programs that the kernel skipped.
    pub recursion_misses: Option<Vec<(String, u64)>>,
}

/// The open file.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    path: PathBuf,
    /// Which file that was.
    identity: Option<(u64, u64)>,
    boot_id: String,
    run_id: Option<i64>,
    clock: AgeClock,
    /// CLOCK_MONOTONIC when the interval that was written last ended.
    written_to_ns: Option<u64>,
}

impl Writer {
    /// Opens the history of a directory.
    ///
    /// # Errors
    /// When it is not ours, is of a later version, or the disk refuses.
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
            .map_err(|source| database::of(&path, source))?;
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

    /// Whether the file is still there under its name: somebody may have removed it.
    pub fn is_there(&self) -> bool {
        self.identity.is_some() && database::identity(&self.path) == self.identity
    }

    /// Writes an interval; its id.
    ///
    /// # Errors
    /// As SQLite has them. Nothing is written then.
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
        let rows = Rows {
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

    /// Moves the log into the file, and forgets what is too old or has no room.
    ///
    /// # Errors
    /// As SQLite has them.
    pub fn tidy(&mut self, max_age_ns: u64, max_bytes: u64) -> rusqlite::Result<()> {
        self.checkpoint()?;
        let before_ns = self.clock.now_ns().saturating_sub(max_age_ns);
        if retention::forget_before(&mut self.connection, integer(before_ns))? {
            self.checkpoint()?;
        }
        // What is written between two checkpoints has to fit, too.
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

    /// Moves the log into the file. Readers may keep some of it where it is.
    ///
    /// # Errors
    /// As SQLite has them.
    pub fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("PRAGMA wal_checkpoint(TRUNCATE)")?
            .query_row([], |_| Ok(()))
    }

    /// Of pages with something in them.
    fn used_bytes(&self) -> rusqlite::Result<u64> {
        let number = |pragma: &str| -> rusqlite::Result<u64> {
            self.connection
                .pragma_query_value(None, pragma, |row| row.get(0))
        };
        Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
    }

    /// What its files take.
    pub fn size_bytes(&self) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        length(&self.path) + length(&self.path.with_extension("db-wal"))
    }

    /// When the oldest interval began.
    ///
    /// # Errors
    /// As SQLite has them.
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
    let rest = Rest {
        other_budgets: interval.other_budgets,
        budgets_unknown: interval.budgets_unknown.clone(),
        unscanned: interval.unscanned.clone(),
        caches: interval.caches.clone(),
        recursion_misses: interval.recursion_misses.as_ref().map(|misses| {
            let misses = misses.iter();
            misses.map(|row| (row.program.clone(), row.count)).collect()
        }),
    };
    let before = match follows {
        true => None,
        false => compressed(&interval.before)?,
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

/// Settings of namespaces; `None` where none are known.
fn compressed(looks: &Looks) -> rusqlite::Result<Option<Vec<u8>>> {
    if looks.is_empty() {
        return Ok(None);
    }
    let compress = || -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let json = serde_json::to_vec(&namespaces::body(looks))?;
        Ok(zstd::bulk::compress(&json, LEVEL)?)
    };
    compress()
        .map(Some)
        .map_err(rusqlite::Error::ToSqlConversionFailure)
}

/// The rows of one interval.
struct Rows<'a> {
    connection: &'a Connection,
    interval_id: i64,
}

impl Rows<'_> {
    fn all(&self, interval: &Interval) -> rusqlite::Result<()> {
        for (n, row) in (0_u64..).zip(&interval.processes) {
            self.process(n, row)?;
        }
        for (n, row) in (0_u64..).zip(&interval.destinations) {
            self.row(n)
                .optional(row.netns.map(|netns| netns_cell(netns, row.netns_nth)))
                .word(row.side)
                .put(row.destination.to_string())
                .number(row.time_wait)
                .number(row.fin_wait2)
                .number(row.overflow)
                .deaths(&row.deaths)
                .number(row.port_failures)
                .reuse(&row.reuse)
                .insert(self.connection, "destination_row")?;
        }
        for (n, row) in (0_u64..).zip(&interval.pairs) {
            let did = &row.did;
            self.row(n)
                .put(self.who(did.process.as_ref())?)
                .text(no_process(row.key))
                .number(netns_cell(row.netns, row.netns_nth))
                .word(row.side)
                .put(row.destination.to_string())
                .number(did.time_wait)
                .number(did.linger_zero)
                .number(did.connect_failures)
                .number(did.bind_failures)
                .reuse(&did.reuse)
                .insert(self.connection, "dealing_row")?;
        }
        for (n, row) in (0_u64..).zip(&interval.budgets) {
            self.row(n)
                .number(row.netns)
                .put(row.pool.word().to_owned())
                .text(row.source.map(|source| source.to_string()))
                .text(row.destination.map(|destination| destination.to_string()))
                .optional(row.capacity)
                .optional(row.free)
                .optional(row.live)
                .optional(row.time_wait)
                .number(row.failures)
                .put(row.outlook.word().to_owned())
                .optional(row.full_in_ns)
                .json(row)?
                .insert(self.connection, "budget_row")?;
        }
        for (n, row) in (0_u64..).zip(&interval.close_wait) {
            self.row(n)
                .put(self.who(row.process.as_ref())?)
                .text(row.unattributed.map(|why| why.word().to_owned()))
                .number(row.netns)
                .word(row.side)
                .put(row.destination.to_string())
                .number(row.count)
                .number(row.shared)
                .optional(row.oldest_ns)
                .optional(row.oldest_at_most_ns)
                .insert(self.connection, "close_wait_row")?;
        }
        for row in interval.audit.iter().filter(|row| !row.is_quiet()) {
            self.row(netns_cell(row.netns, row.netns_nth))
                .number(row.births_seen)
                .optional(row.births_kernel)
                .put(row.difference)
                .number(row.uncertainty)
                .put(row.audited)
                .json(row)?
                .insert(self.connection, "audit_row")?;
        }
        for named in &interval.netns_names {
            let after = serde_json::to_value(named.after).ok();
            self.row(named.netns)
                .put(escape(&named.name))
                .text(after.and_then(|after| after.as_str().map(str::to_owned)))
                .json(named)?
                .insert(self.connection, "netns_row")?;
        }
        for row in &interval.lost {
            Values::default()
                .put(self.interval_id)
                .put(row.probe.word().to_owned())
                .number(row.count)
                .insert(self.connection, "lost_row")?;
        }
        for (n, finding) in (0_u64..).zip(&interval.findings) {
            self.row(n)
                .put(finding.severity.word().to_owned())
                .put(finding.id.to_owned())
                .put(escape(&finding.title))
                .put(escape(&finding.evidence.join("; ")))
                .json(finding)?
                .insert(self.connection, "finding_row")?;
        }
        for (n, event) in (0_u64..).zip(&interval.events) {
            self.event(n, event)?;
        }
        Ok(())
    }

    /// A row begins with its interval and its number.
    fn row(&self, n: impl Into<u64>) -> Values {
        Values::default().put(self.interval_id).number(n)
    }

    fn process(&self, n: u64, row: &ProcessSums) -> rusqlite::Result<()> {
        let ages = row.residence.histogram();
        let quantiles = row.residence.quantiles();
        self.row(n)
            .put(self.who(row.process.as_ref())?)
            .text(no_process(row.key))
            .counts(&row.counts)
            .reuse(&row.reuse)
            .number(ages.map_or(0, |ages| ages.count))
            .optional(quantiles.map(|it| it.p50_ns))
            .optional(quantiles.map(|it| it.p99_ns))
            .optional(quantiles.map(|it| it.max_ns))
            .text(ages.map(histogram_json))
            .insert(self.connection, "process_row")?;
        for port in &row.ports {
            let shown =
                twtrace_core::model::report::PortRow::new(port.op, port.exact, &port.totals);
            self.row(n)
                .word(port.op)
                .put(port.exact)
                .number(port.totals.count)
                .number(port.totals.failures)
                .number(port.totals.untimed)
                .optional(shown.p50_ns)
                .optional(shown.p99_ns)
                .number(port.totals.max_ns)
                .put(histogram_json(&port.totals))
                .insert(self.connection, "port_row")?;
        }
        Ok(())
    }

    fn event(&self, n: u64, event: &Event) -> rusqlite::Result<()> {
        let address = |address: Option<std::net::SocketAddr>| address.map(|it| it.to_string());
        let values = self
            .row(n)
            .number(event.ts.0)
            .number(event.mono_ns)
            .word(event.event)
            .optional(event.netns.map(u64::from))
            .word(event.side)
            .text(address(event.local))
            .text(address(event.remote))
            .put(self.who(event.process.as_ref())?)
            .text(event.unattributed.map(|why| why.word().to_owned()));
        let word = |word: &str| Some(word.to_owned());
        let none = |values: Values, count| (0..count).fold(values, |it, _| it.text(None));
        let values = match &event.facts {
            Facts::Reset(facts) => {
                let values = values
                    .word(facts.direction)
                    .word(facts.reason)
                    .text(facts.kernel_reason.as_ref().map(ToString::to_string));
                let state = facts.state.map(|state| state.word().to_owned());
                flow(none(values, 4).text(state), &facts.flow).optional(facts.after_close_ns)
            }
            Facts::Abort(facts) => {
                let values = values.text(None).word(facts.reason).text(None);
                let state = facts.state.map(|state| state.word().to_owned());
                none(flow(none(values, 4).text(state), &facts.flow), 1)
            }
            Facts::TimeWait(facts) => {
                let state = facts.from.map(|state| state.word().to_owned());
                none(flow(none(values, 7).text(state), &facts.flow), 1)
            }
            Facts::PortAlloc(facts) => none(
                none(values, 3)
                    .word(facts.op)
                    .number(facts.requested)
                    .put(facts.result.to_string())
                    .optional(facts.latency_ns),
                8,
            ),
            Facts::TimeWaitEnd(facts) => none(values.text(None).text(word(facts.cause.word())), 13),
        };
        values.insert(self.connection, "event_row")
    }

    /// The id of a process, which gets a row if it has none yet.
    fn who(&self, process: Option<&Process>) -> rusqlite::Result<Option<i64>> {
        let Some(process) = process else {
            return Ok(None);
        };
        // Which of its threads acted last is no part of who it is.
        let process = &Process {
            thread_comm: Default::default(),
            ..process.clone()
        };
        let json = serde_json::to_string(process)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let start = integer(process.key.start_boot_ns);
        let known: Option<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT id, last_interval_id FROM who WHERE pid = ? AND start_boot_ns = ? AND json = ?",
            )?
            .query_row((process.key.tgid, start, &json), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some((id, last)) = known {
            if last != self.interval_id {
                self.connection
                    .prepare_cached("UPDATE who SET last_interval_id = ? WHERE id = ?")?
                    .execute([self.interval_id, id])?;
            }
            return Ok(Some(id));
        }
        let details = process.details.as_deref();
        let place = details.and_then(|details| details.cgroup.as_ref());
        let shown = |text: Option<&String>| text.map(|text| escape(text));
        Values::default()
            .put(None::<i64>)
            .number(process.key.tgid)
            .put(start)
            .put(escape(&process.comm.text()))
            .optional(process.uid.map(u64::from))
            .text(shown(details.and_then(|details| details.exe.as_ref())))
            .text(shown(place.map(|place| &place.path)))
            .text(shown(place.and_then(|place| place.container_id.as_ref())))
            .text(shown(place.and_then(|place| place.pod_uid.as_ref())))
            .text(shown(place.and_then(|place| place.unit.as_ref())))
            .put(json)
            .put(self.interval_id)
            .insert(self.connection, "who")?;
        Ok(Some(self.connection.last_insert_rowid()))
    }
}

fn flow(values: Values, flow: &Flow) -> Values {
    values
        .optional(flow.connection_ns)
        .optional(flow.idle_ns)
        .optional(flow.peer_silent_ns)
        .optional(flow.send_idle_ns)
        .optional(flow.bytes_sent)
        .optional(flow.bytes_received)
}

/// Why there is no process; `None` where there is one.
fn no_process(key: ProcessKey) -> Option<String> {
    (key.tgid == 0).then(|| {
        let why = unattributed(key).unwrap_or(Unattributed::Unknown);
        why.word().to_owned()
    })
}
