//! Reads the rows of an interval back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::from_str;
use twtrace_core::event::answerable::unattributed;
use twtrace_core::event::answerable::without_process;
use twtrace_core::event::counts_by::CountsBy;
use twtrace_core::event::words::Word;
use twtrace_core::event::{LostBy, Moment, Process, Timestamp};
use twtrace_core::hooks::Choice;
use twtrace_core::model::close_wait::{CloseWaitRow, NoHolder};
use twtrace_core::model::destination::Destination;
use twtrace_core::model::destinations::DestinationRow;
use twtrace_core::model::host::Host;
use twtrace_core::model::namespace::NamespaceSamples;
use twtrace_core::model::pairs::{PairCounts, PairSums};
use twtrace_core::model::report::{Exact, LostRow, MissRow};
use twtrace_core::model::residence::Residence;
use twtrace_core::model::sparse::Sparse;
use twtrace_core::model::sums::{PortSums, ProcessSums};
use twtrace_core::model::timeline::Bucket;
use twtrace_wire::{PortTotals, ProcessKey, Unattributed};

use super::columns::{Cells, buckets, rows};
use super::guard::Allowance;
use super::writer::IntervalRest;
use crate::store::interval::Interval;

/// One run of twtrace, from its start to its end.
#[derive(Clone, Debug)]
pub struct Run {
    /// Boot of the host.
    pub boot_id: Arc<str>,
    pub host: Host,
    /// The tier chosen for each question.
    pub tiers: Vec<Choice>,
}

/// The rows of one interval.
pub struct RowReader<'a> {
    /// The open history.
    pub connection: &'a Connection,
    pub id: i64,
    /// What the interval may still hold.
    pub allowance: Allowance,
}

impl RowReader<'_> {
    /// The interval with all its rows; `known` has the processes that were already read.
    ///
    /// # Errors
    /// SQLite's error; or a cell holds an impossible value.
    pub fn all(&self, run: Run, known: &mut HashMap<i64, Process>) -> rusqlite::Result<Interval> {
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
                process: process.map(Arc::new),
                netns,
                netns_nth,
                side: cells.word()?,
                destination: cells.parsed(Destination::from_text)?,
                counts: read_pair(cells)?,
            })
        })?;
        interval.budgets = self.json_table("budget_row", "n")?;
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
                stayed: None,
                half_closed: 0,
                stayed_ns: None,
                destination,
            })
        })?;
        interval.audit = self.json_table("audit_row", "netns")?;
        interval.netns_names = self.json_table("netns_row", "netns")?;
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
        rows(
            self.connection.prepare_cached(&sql)?,
            self.id,
            &self.allowance,
            read,
        )
    }

    /// The column `json` of a table, in the order of a column.
    fn json_table<T: DeserializeOwned>(
        &self,
        table: &str,
        order_by: &str,
    ) -> rusqlite::Result<Vec<T>> {
        let sql = format!("SELECT json FROM {table} WHERE interval_id = ? ORDER BY {order_by}");
        rows(
            self.connection.prepare_cached(&sql)?,
            self.id,
            &self.allowance,
            |cells| cells.json(),
        )
    }

    fn head(&self, run: Run) -> rusqlite::Result<Interval> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT * FROM interval WHERE id = ?")?;
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
            sum.time_wait = CountsBy::new([unknown, client, server]);
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
            let rest: IntervalRest = cells.json()?;
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
                before: NamespaceSamples::new(),
                after: NamespaceSamples::new(),
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
                unattributed: (key.tgid == 0).then(|| unattributed(key)).flatten(),
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

    /// A process, or why there is none, from two columns.
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
            .connection
            .prepare_cached("SELECT start_boot_ns, json FROM who WHERE id = ?")?
            .query_row([id], |row| {
                self.allowance.take(row)?;
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

/// The figures of a pair.
fn read_pair(cells: &mut Cells<'_, '_>) -> rusqlite::Result<PairCounts> {
    let time_wait = cells.number()?;
    // There for users: it is also among the RSTs.
    cells.skip(1);
    Ok(PairCounts {
        time_wait,
        connect_failures: cells.number()?,
        bind_failures: cells.number()?,
        reuse: cells.reuse()?,
        deaths: cells.deaths()?.into(),
        patterns: Sparse::default(),
        lives: Sparse::default(),
        closings: Sparse::default(),
        unanswered: Sparse::default(),
        unconnected: Sparse::default(),
        outage: None,
    })
}
