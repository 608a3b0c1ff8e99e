//! What one interval of a host was: what a history keeps, and what reports over longer times are put together of.

use std::collections::HashMap;

use twtrace_wire::{PortKey, PortOp, PortTotals, ProcessKey, Side, Unattributed};

use super::audit::AuditRow;
use super::budget::row::{BudgetRow, OtherBudgets};
use super::close_wait::{CloseWaitRow, NoHolder};
use super::counts::Counts;
use super::dealings::Dealing;
use super::destination::{Destination, DestinationRow};
use super::memory::CacheRow;
use super::notable::Kept;
use super::observation::KernelTotals;
use super::report::{Exact, LostRow, MissRow, ProcessRow, UnscannedRow};
use super::residence::Residence;
use super::reuse::Reuse;
use super::tally::Tally;
use super::timeline::Bucket;
use super::{Model, without_process};
use crate::doctor::diagnosis::Diagnosis;
use crate::doctor::finding::Finding;
use crate::enrich::netns_names::NetnsName;
use crate::event::{Event, Moment, Process};
use crate::host::Host;
use crate::probe::Choice;
use crate::scan::namespace::Looks;

/// Rows of one kind that an interval has; the least of more are summed up in one.
const MAX_ROWS: usize = 2_000;
/// Budgets that it has: most are quiet, and the fullest come first.
const MAX_BUDGETS: usize = 500;

/// Everything about one interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// When it began.
    pub start: Moment,
    /// When it ended.
    pub end: Moment,
    /// Where.
    pub host: Host,
    /// What answered each question.
    pub tiers: Vec<Choice>,
    /// Which figures are complete.
    pub exact: Exact,
    /// What was counted, in sum, from events.
    pub sum: Bucket,
    /// By process.
    pub processes: Vec<ProcessSums>,
    /// Processes that were summed up in one row as `lost`.
    pub processes_folded: u64,
    /// By destination.
    pub destinations: Vec<DestinationRow>,
    /// By process and destination.
    pub dealings: Vec<DealingSums>,
    /// Events without a row there.
    pub dealings_left_out: u64,
    /// Budgets of local ports at the end, the fullest first.
    pub budgets: Vec<BudgetRow>,
    /// Those without a row.
    pub other_budgets: OtherBudgets,
    /// Namespaces whose budgets are not known.
    pub budgets_unknown: Vec<UnscannedRow>,
    /// Connections in CLOSE_WAIT at the end.
    pub close_wait: Vec<CloseWaitRow>,
    /// Namespaces that could not be searched for them.
    pub unscanned: Vec<UnscannedRow>,
    /// The kernel's tables at the end.
    pub caches: Vec<CacheRow>,
    /// Births that were seen against those that the kernel counted, within the interval.
    pub audit: Vec<AuditRow>,
    /// Names of the network namespaces that occur in it.
    pub netns_names: Vec<NetnsName>,
    /// What was lost.
    pub lost: Vec<LostRow>,
    /// Runs of our programs that the kernel skipped within the interval; `None` where it does not count them.
    pub recursion_misses: Option<Vec<MissRow>>,
    /// Settings and counters of namespaces when it began; empty where they are not known.
    pub before: Looks,
    /// The same when it ended.
    pub after: Looks,
    /// Events that are kept one by one. Not read back.
    pub events: Vec<Event>,
    /// Those there was no room for.
    pub events_left_out: u64,
    /// What `doctor` found. Not read back: a longer time is judged anew.
    pub findings: Vec<Finding>,
}

/// What one process did, in sums that can be added to.
#[derive(Clone, Debug)]
pub struct ProcessSums {
    /// Who, or what stands for nobody.
    pub key: ProcessKey,
    /// The process, or `None` for facts that have none.
    pub process: Option<Process>,
    /// Why there is none.
    pub unattributed: Option<Unattributed>,
    /// TIME_WAITs, resets and aborts.
    pub counts: Counts,
    /// Ages of its TIME_WAITs that went.
    pub residence: Residence,
    /// TIME_WAITs that its connects took or could not take.
    pub reuse: Reuse,
    /// Port searches by operation and exactness.
    pub ports: Vec<PortSums>,
}

/// Port searches of one process by one operation.
#[derive(Clone, Debug)]
pub struct PortSums {
    /// The system call.
    pub op: PortOp,
    /// Whether latencies are those of the search itself.
    pub exact: bool,
    /// The figures.
    pub totals: PortTotals,
}

/// What one process did towards one destination.
#[derive(Clone, Debug)]
pub struct DealingSums {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many namespaces had this number before it, since tracing began.
    pub netns_nth: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// Towards whom.
    pub destination: Destination,
    /// Who, or what stands for nobody.
    pub key: ProcessKey,
    /// What it did.
    pub did: Dealing,
}

impl Interval {
    /// What was told since the interval of this tally began.
    pub fn of(tally: &Tally, notable: Kept) -> Self {
        let report = tally.report();
        let occurring = report.namespaces();
        let mut names = report.netns_names.clone();
        names.retain(|named| occurring.contains(&named.netns));
        let findings = Diagnosis::of(tally, report.clone()).findings;
        let (before, after) = tally.namespaces();
        let (processes, processes_folded) = fold_processes(tally.process_sums());
        let mut budgets = report.budgets;
        let mut other_budgets = report.other_budgets;
        let further = budgets.len().min(MAX_BUDGETS);
        other_budgets.add(&OtherBudgets::of(&budgets[further..]));
        budgets.truncate(MAX_BUDGETS);
        let mut dealings = tally.dealings().sums();
        let further = dealings.len().min(MAX_ROWS);
        let left_out: u64 = dealings[further..].iter().map(|row| row.did.events()).sum();
        dealings.truncate(MAX_ROWS);
        Self {
            start: tally.opening().at,
            end: tally.latest(),
            host: tally.opening().host.clone(),
            tiers: report.tiers,
            exact: report.exact,
            sum: tally.timeline().sum(),
            processes,
            processes_folded,
            destinations: fold_destinations(report.destinations),
            dealings,
            dealings_left_out: tally.dealings().left_out() + left_out,
            budgets,
            other_budgets,
            budgets_unknown: report.budgets_unknown,
            close_wait: fold_close_wait(report.close_wait),
            unscanned: report.unscanned,
            caches: report.memory.caches,
            netns_names: names,
            audit: tally.audit_of_interval(),
            lost: report.lost,
            recursion_misses: tally.misses_of_interval(),
            before,
            after,
            events: notable.events,
            events_left_out: notable.left_out,
            findings,
        }
    }
}

impl Model {
    /// The rows by process, in sums that can be added to.
    pub fn process_sums(&self, kernel: Option<&KernelTotals>) -> Vec<ProcessSums> {
        let rows = self.process_rows(kernel);
        let from_kernel: Option<HashMap<PortKey, &PortTotals>> = kernel
            .filter(|_| self.filter.is_by_process())
            .map(|kernel| kernel.ports.iter().map(|(key, it)| (*key, it)).collect());
        let totals = |key: &PortKey| match &from_kernel {
            Some(from_kernel) => from_kernel.get(key).copied(),
            None => self.ports.get(key),
        };
        rows.into_iter().map(|row| self.sums(row, totals)).collect()
    }

    fn sums<'a>(
        &self,
        row: ProcessRow,
        totals: impl Fn(&PortKey) -> Option<&'a PortTotals>,
    ) -> ProcessSums {
        let key = row.key();
        let ports = row.ports.iter().filter_map(|port| {
            let port_key = PortKey {
                process: key,
                op: port.op as u32,
                exact: u32::from(port.exact),
            };
            Some(PortSums {
                op: port.op,
                exact: port.exact,
                totals: *totals(&port_key)?,
            })
        });
        // A row without quantiles hides the ages.
        let residence = row
            .residence
            .and_then(|_| Some(self.processes.get(&key)?.residence.clone()));
        ProcessSums {
            key,
            ports: ports.collect(),
            residence: residence.unwrap_or_default(),
            process: row.process,
            unattributed: row.unattributed,
            counts: row.counts,
            reuse: row.reuse,
        }
    }
}

impl ProcessSums {
    /// Adds what it did later.
    pub fn add(&mut self, later: Self) {
        self.counts.add_all(&later.counts);
        self.residence.add_all(&later.residence);
        self.reuse.add_all(&later.reuse);
        for port in later.ports {
            let known = self
                .ports
                .iter_mut()
                .find(|known| (known.op, known.exact) == (port.op, port.exact));
            match known {
                Some(known) => known.totals.add(&port.totals),
                None => self.ports.push(port),
            }
        }
        if later.process.is_some() {
            self.process = later.process;
        }
    }

    /// As reports show it.
    pub fn row(self) -> ProcessRow {
        let ports = self.ports.iter();
        ProcessRow {
            ports: ports
                .map(|port| super::report::PortRow::new(port.op, port.exact, &port.totals))
                .collect(),
            residence: self.residence.quantiles(),
            process: self.process,
            unattributed: self.unattributed,
            counts: self.counts,
            reuse: self.reuse,
        }
    }
}

/// Those beyond [`MAX_ROWS`] become one, under the word for what was lost; how many they are.
fn fold_processes(mut rows: Vec<ProcessSums>) -> (Vec<ProcessSums>, u64) {
    if rows.len() <= MAX_ROWS {
        return (rows, 0);
    }
    let further = rows.split_off(MAX_ROWS);
    let folded = further.len() as u64;
    let key = without_process(Unattributed::Lost);
    let mut sum = match rows.iter().position(|row| row.key == key) {
        Some(place) => rows.swap_remove(place),
        None => ProcessSums {
            key,
            process: None,
            unattributed: Some(Unattributed::Lost),
            counts: Counts::default(),
            residence: Residence::default(),
            reuse: Reuse::default(),
            ports: Vec::new(),
        },
    };
    for row in further {
        sum.add(ProcessSums {
            process: None,
            ..row
        });
    }
    rows.push(sum);
    (rows, folded)
}

/// Those beyond [`MAX_ROWS`] become one for each side.
fn fold_destinations(mut rows: Vec<DestinationRow>) -> Vec<DestinationRow> {
    if rows.len() <= MAX_ROWS {
        return rows;
    }
    for row in rows.split_off(MAX_ROWS) {
        let is_others = |known: &&mut DestinationRow| {
            known.destination == Destination::Others && known.side == row.side
        };
        match rows[MAX_ROWS..].iter_mut().find(is_others) {
            Some(others) => others.add(&row),
            None => rows.push(DestinationRow {
                netns: None,
                netns_nth: 0,
                destination: Destination::Others,
                ..row
            }),
        }
    }
    rows
}

/// Those beyond [`MAX_ROWS`] become one.
fn fold_close_wait(mut rows: Vec<CloseWaitRow>) -> Vec<CloseWaitRow> {
    if rows.len() <= MAX_ROWS {
        return rows;
    }
    let further = rows.split_off(MAX_ROWS);
    rows.push(CloseWaitRow {
        process: None,
        unattributed: Some(NoHolder::Unknown),
        netns: 0,
        side: Side::Unknown,
        remote: None,
        local: None,
        count: further.iter().map(|row| row.count).sum(),
        shared: further.iter().map(|row| row.shared).sum(),
        oldest_ns: further.iter().filter_map(|row| row.oldest_ns).max(),
        oldest_at_most_ns: further.iter().filter_map(|row| row.oldest_at_most_ns).max(),
        destination: Destination::Others,
    });
    rows
}

#[cfg(test)]
#[path = "interval_tests.rs"]
mod tests;
