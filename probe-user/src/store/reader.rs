//! Reads intervals back.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension};
use serde_json::from_str;
use twtrace_core::event::words::Word;
use twtrace_core::event::{LostBy, Moment, Process, Timestamp};
use twtrace_core::hooks::Choice;
use twtrace_core::model::close_wait::{CloseWaitRow, NoHolder};
use twtrace_core::model::destination::{Destination, DestinationRow};
use twtrace_core::model::host::Host;
use twtrace_core::model::namespace::Looks;
use twtrace_core::model::pairs::PairCounts;
use twtrace_core::model::report::{Exact, LostRow, MissRow};
use twtrace_core::model::residence::Residence;
use twtrace_core::model::sums::{PairSums, PortSums, ProcessSums};
use twtrace_core::model::timeline::Bucket;
use twtrace_core::model::without_process;
use twtrace_wire::{PortTotals, ProcessKey, Unattributed};

use super::columns::{Cells, buckets, integer, rows};
use super::database;
use super::error::StoreError;
use super::writer::Rest;
use crate::record::observation::namespaces;
use crate::store::interval::Interval;

/// Processes that are kept in memory while intervals are read.
const MAX_KNOWN: usize = 65_536;
/// Text of the settings of all namespaces, bytes, that no twtrace goes beyond.
const MAX_LOOKS: usize = 64 << 20;

/// A time, from `since`, inclusive, to `until`, exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// `None`: from the beginning.
    pub since: Option<Timestamp>,
    /// `None`: to the end.
    pub until: Option<Timestamp>,
}

/// Where an interval stands in the history.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its number: grows with time, whatever the clock does.
    pub id: i64,
    run_id: i64,
    /// Which boot of the host.
    pub boot_id: Arc<str>,
    /// When the interval began.
    pub start: Moment,
    /// When it ended.
    pub end: Moment,
}

/// A history that is read.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    runs: HashMap<i64, Run>,
    known: HashMap<i64, Process>,
}

#[derive(Clone, Debug)]
struct Run {
    boot_id: Arc<str>,
    host: Host,
    tiers: Vec<Choice>,
}

impl Reader {
    /// Opens the history of a directory. Whoever writes it goes on.
    ///
    /// # Errors
    /// When there is none, or it is not of this version.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let mut reader = Self {
            connection: database::open_to_read(directory)?,
            path: database::path_in(directory),
            runs: HashMap::new(),
            known: HashMap::new(),
        };
        // What is read is of one moment, whatever is written or forgotten meanwhile.
        let begun = reader.connection.execute_batch("BEGIN");
        reader.said(begun)?;
        let runs = reader.read_runs();
        reader.runs = reader.said(runs)?;
        Ok(reader)
    }

    /// When the history begins and ends; `None` where it has nothing.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn extent(&self) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let extent = self.connection.query_row(
            "SELECT min(start_unix_ns), max(end_unix_ns) FROM interval",
            [],
            |row| {
                let mut cells = Cells::of(row);
                Ok(cells.optional()?.zip(cells.optional()?))
            },
        );
        let extent = self.said(extent)?;
        Ok(extent.map(|(start, end)| (Timestamp(start), Timestamp(end))))
    }

    /// The intervals that lie in a time, wholly or in part, in the order in which they were.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn places(&self, span: Span) -> Result<Vec<Place>, StoreError> {
        self.said(self.read_places(span))
    }

    /// One interval, without its events and findings, and without settings of namespaces.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn interval(&mut self, place: &Place) -> Result<Interval, StoreError> {
        if self.known.len() > MAX_KNOWN {
            self.known.clear();
        }
        let interval = self.read_interval(place);
        self.said(interval)
    }

    /// Settings and counters of namespaces when an interval began; empty where they are not known.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn looks_before(&self, place: &Place) -> Result<Looks, StoreError> {
        let own = self.said(self.read_looks("looks_before", place.id))?;
        if !own.is_empty() {
            return Ok(own);
        }
        // Those after the one before, which it began with.
        let follows = self.connection.query_row(
            "SELECT count(*) FROM interval AS now JOIN interval AS before ON before.id = now.id - 1 \
             WHERE now.id = ? AND before.run_id = now.run_id AND before.end_mono_ns = now.start_mono_ns",
            [place.id],
            |row| row.get::<_, i64>(0),
        );
        match self.said(follows)? {
            0 => Ok(own),
            _ => self.said(self.read_looks("looks_after", place.id - 1)),
        }
    }

    /// The same when it ended.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn looks_after(&self, place: &Place) -> Result<Looks, StoreError> {
        self.said(self.read_looks("looks_after", place.id))
    }

    fn said<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|source| database::of(&self.path, source))
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

    fn read_places(&self, span: Span) -> rusqlite::Result<Vec<Place>> {
        let since = span.since.map_or(0, |since| integer(since.0));
        let until = span.until.map_or(i64::MAX, |until| integer(until.0));
        // The clock may have been set back in one: then it ends before it begins.
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
            Ok(Place {
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

    fn prepared(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }

    fn read_looks(&self, column: &str, id: i64) -> rusqlite::Result<Looks> {
        let sql = format!("SELECT {column} FROM interval WHERE id = ?");
        let blob: Option<Option<Vec<u8>>> = self
            .prepared(&sql)?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let Some(blob) = blob.flatten() else {
            return Ok(Looks::new());
        };
        let read = || -> Result<Looks, Box<dyn std::error::Error + Send + Sync>> {
            let json = zstd::bulk::decompress(&blob, MAX_LOOKS)?;
            Ok(namespaces::looks(serde_json::from_slice(&json)?))
        };
        read().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error)
        })
    }

    fn read_interval(&mut self, place: &Place) -> rusqlite::Result<Interval> {
        let run = self
            .runs
            .get(&place.run_id)
            .cloned()
            .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let mut known = std::mem::take(&mut self.known);
        let read = Rows {
            reader: self,
            id: place.id,
        }
        .all(run, &mut known);
        self.known = known;
        read
    }
}

/// The rows of one interval.
struct Rows<'a> {
    reader: &'a Reader,
    id: i64,
}

impl Rows<'_> {
    fn all(&self, run: Run, known: &mut HashMap<i64, Process>) -> rusqlite::Result<Interval> {
        let mut interval = self.head(run)?;
        interval.processes = self.processes(known)?;
        interval.destinations = self.table("destination_row", |cells| {
            cells.skip(2);
            let (netns, netns_nth) = cells.netns_and_nth_or_null()?;
            let side = cells.word()?;
            let destination = cells.parsed(Destination::from_text)?;
            Ok(DestinationRow {
                netns,
                netns_nth,
                side,
                time_wait: cells.number()?,
                fin_wait2: cells.number()?,
                overflow: cells.number()?,
                deaths: cells.deaths()?.into(),
                port_failures: cells.number()?,
                reuse: cells.reuse()?.into(),
                destination,
            })
        })?;
        interval.pairs = self.table("dealing_row", |cells| {
            cells.skip(2);
            let (key, process) = self.who(cells, known)?;
            let (netns, netns_nth) = cells.netns_and_nth()?;
            Ok(PairSums {
                key,
                netns,
                netns_nth,
                side: cells.word()?,
                destination: cells.parsed(Destination::from_text)?,
                did: PairCounts {
                    process,
                    time_wait: cells.number()?,
                    linger_zero: cells.number()?,
                    connect_failures: cells.number()?,
                    bind_failures: cells.number()?,
                    reuse: cells.reuse()?,
                },
            })
        })?;
        interval.budgets = self.table("budget_row", |cells| {
            cells.skip(13);
            cells.json()
        })?;
        interval.close_wait = self.table("close_wait_row", |cells| {
            cells.skip(2);
            let process = self.process(cells.take()?, known)?;
            let why: Option<String> = cells.take()?;
            let unattributed = why.and_then(|why| {
                let all = [NoHolder::NotAccepted, NoHolder::Unknown];
                all.into_iter().find(|known| known.word() == why)
            });
            let (netns, side) = (cells.netns()?, cells.word()?);
            let destination = cells.parsed(Destination::from_text)?;
            Ok(CloseWaitRow {
                process,
                unattributed,
                netns,
                side,
                remote: destination.remote(),
                local: destination.local(),
                count: cells.number()?,
                shared: cells.number()?,
                oldest_ns: cells.optional()?,
                oldest_at_most_ns: cells.optional()?,
                destination,
            })
        })?;
        interval.audit = self.table("audit_row", |cells| {
            cells.skip(7);
            cells.json()
        })?;
        interval.netns_names = self.table("netns_row", |cells| {
            cells.skip(4);
            cells.json()
        })?;
        interval.lost = self.table("lost_row", |cells| {
            cells.skip(1);
            Ok(LostRow {
                probe: cells.parsed(LostBy::from_word)?,
                count: cells.number()?,
            })
        })?;
        Ok(interval)
    }

    /// All rows of a table, in their order.
    fn table<T>(
        &self,
        table: &str,
        read: impl FnMut(&mut Cells<'_, '_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let sql = format!("SELECT * FROM {table} WHERE interval_id = ? ORDER BY 1, 2");
        rows(self.reader.prepared(&sql)?, self.id, read)
    }

    fn head(&self, run: Run) -> rusqlite::Result<Interval> {
        let mut statement = self
            .reader
            .prepared("SELECT * FROM interval WHERE id = ?")?;
        statement.query_row([self.id], |row| {
            let mut cells = Cells::of(row);
            cells.skip(2);
            let (start_ns, end_ns) = (cells.number()?, cells.number()?);
            let at = |unix_ns, mono_ns| Moment {
                ts: Timestamp(unix_ns),
                mono_ns,
            };
            let start = at(start_ns, cells.number()?);
            let end = at(end_ns, cells.number()?);
            cells.skip(1);
            let mut sum = Bucket::default();
            let (client, server, unknown) = (cells.number()?, cells.number()?, cells.number()?);
            sum.time_wait = twtrace_core::event::by::By::new([unknown, client, server]);
            sum.overflow = cells.number()?;
            sum.reset_sent = cells.number()?;
            sum.reset_received = cells.number()?;
            sum.port_failures = cells.number()?;
            sum.lost = cells.number()?;
            let exact = Exact {
                processes: cells.take()?,
                destinations: cells.take()?,
                refused_reuse: cells.take()?,
                ends: cells.take()?,
            };
            let processes_folded = cells.number()?;
            let pairs_left_out = cells.number()?;
            let events_left_out = cells.number()?;
            let rest: Rest = cells.json()?;
            let misses = rest.recursion_misses.map(|misses| {
                let misses = misses.into_iter();
                misses
                    .map(|(program, count)| MissRow { program, count })
                    .collect()
            });
            Ok(Interval {
                start,
                end,
                host: run.host,
                tiers: run.tiers,
                exact,
                sum,
                processes: Vec::new(),
                processes_folded,
                destinations: Vec::new(),
                pairs: Vec::new(),
                pairs_left_out,
                budgets: Vec::new(),
                other_budgets: rest.other_budgets,
                budgets_unknown: rest.budgets_unknown,
                close_wait: Vec::new(),
                unscanned: rest.unscanned,
                caches: rest.caches,
                audit: Vec::new(),
                netns_names: Vec::new(),
                lost: Vec::new(),
                recursion_misses: misses,
                before: Looks::new(),
                after: Looks::new(),
                events: Vec::new(),
                events_left_out,
                findings: Vec::new(),
            })
        })
    }

    fn processes(&self, known: &mut HashMap<i64, Process>) -> rusqlite::Result<Vec<ProcessSums>> {
        let mut processes = self.table("process_row", |cells| {
            cells.skip(2);
            let (key, process) = self.who(cells, known)?;
            let (counts, reuse) = (cells.counts()?, cells.reuse()?);
            let count = cells.number()?;
            cells.skip(2);
            let max_ns = cells.optional()?.unwrap_or(0);
            let ages: Option<String> = cells.take()?;
            let ages = ages.map(|ages| from_str::<BTreeMap<u64, u32>>(&ages));
            let ages = ages
                .transpose()
                .map_err(|error| cells.is_wrong(error.into()))?;
            Ok(ProcessSums {
                key,
                unattributed: (key.tgid == 0)
                    .then(|| twtrace_core::event::decode::unattributed(key))
                    .flatten(),
                process,
                counts,
                residence: Residence::of(PortTotals {
                    count,
                    max_ns,
                    buckets: buckets(&ages.unwrap_or_default()),
                    ..PortTotals::default()
                }),
                reuse,
                ports: Vec::new(),
            })
        })?;
        let ports = self.table("port_row", |cells| {
            cells.skip(1);
            let n: usize = cells.take()?;
            let (op, exact) = (cells.word()?, cells.take()?);
            let (count, failures, untimed) = (cells.number()?, cells.number()?, cells.number()?);
            cells.skip(2);
            let max_ns = cells.number()?;
            let latencies: BTreeMap<u64, u32> = cells.json()?;
            let totals = PortTotals {
                count,
                failures,
                untimed,
                max_ns,
                buckets: buckets(&latencies),
            };
            Ok((n, PortSums { op, exact, totals }))
        })?;
        for (n, port) in ports {
            if let Some(process) = processes.get_mut(n) {
                process.ports.push(port);
            }
        }
        Ok(processes)
    }

    /// A process, or why there is none: two columns.
    fn who(
        &self,
        cells: &mut Cells<'_, '_>,
        known: &mut HashMap<i64, Process>,
    ) -> rusqlite::Result<(ProcessKey, Option<Process>)> {
        let process = self.process(cells.take()?, known)?;
        let why: Option<String> = cells.take()?;
        let key = match &process {
            Some(process) => process.key,
            None => {
                let why = why.and_then(|why| Unattributed::from_word(&why));
                without_process(why.unwrap_or(Unattributed::Unknown))
            }
        };
        Ok((key, process))
    }

    fn process(
        &self,
        id: Option<i64>,
        known: &mut HashMap<i64, Process>,
    ) -> rusqlite::Result<Option<Process>> {
        let Some(id) = id else {
            return Ok(None);
        };
        if let Some(process) = known.get(&id) {
            return Ok(Some(process.clone()));
        }
        let process = self
            .reader
            .prepared("SELECT start_boot_ns, json FROM who WHERE id = ?")?
            .query_row([id], |row| {
                let mut cells = Cells::of(row);
                let start_boot_ns = cells.number()?;
                let mut process: Process = cells.json()?;
                process.key.start_boot_ns = start_boot_ns;
                Ok(process)
            })?;
        known.insert(id, process.clone());
        Ok(Some(process))
    }
}
