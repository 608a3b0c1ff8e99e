//! Follows port pools over time, from events between two samples of the sockets of every namespace.

use std::collections::HashMap;

use super::NamespacePorts;
use super::client_sockets::ClientSockets;
use super::evidence::{Evidence, EvidenceDelta};
use super::holders::PoolHolders;
use super::of_namespace::each_row;
use super::row::{self, BudgetRow, OtherBudgets};
use super::sysctls::PortSysctls;
use crate::event::Event;
use crate::filter::Filter;
use crate::model::report::UnscannedRow;

/// Maximum number of pools shown individually.
const MAX_BUDGETS: usize = 65_536;
/// Maximum number of pools with the processes that have their ports by bind(): there may be many pools that lack ports.
const MAX_NAMED: usize = 256;

/// One namespace at one time.
#[derive(Clone, Debug)]
pub struct SocketSample {
    /// Its settings.
    pub sysctls: PortSysctls,
    /// Its sockets.
    pub sockets: ClientSockets,
}

/// Every namespace that was sampled, by inode number: or why it could not be.
pub type SocketSamples = HashMap<u32, Result<SocketSample, String>>;

/// What is known about port pools.
#[derive(Debug, Default)]
pub struct Ledger {
    evidence: Evidence,
    /// A recording has the data of all events, including those that its filter hid.
    has_evidence: bool,
    /// Only a part of a recording is read.
    is_excerpt: bool,
    /// Since when TIME_WAITs are counted, CLOCK_MONOTONIC in nanoseconds; `None`: since the start of rates.
    counted_since_ns: Option<u64>,
    start: Option<(HashMap<u32, ClientSockets>, u64)>,
    end: Option<(SocketSamples, u64)>,
    live_by: Vec<PoolHolders>,
}

/// The port pools of a report.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// The fullest first.
    pub rows: Vec<BudgetRow>,
    /// Pools beyond the limit.
    pub others: OtherBudgets,
    /// Namespaces that could not be sampled, and why.
    pub unknown: Vec<UnscannedRow>,
}

impl Ledger {
    /// Counts TIME_WAITs from this time on, CLOCK_MONOTONIC in nanoseconds: before the first sample.
    pub fn counting_since(mono_ns: u64) -> Self {
        Self {
            counted_since_ns: Some(mono_ns),
            ..Self::default()
        }
    }

    /// For a part of a recording: what was summed up between two samples may be from outside of it, so failures are those
    /// of its own events.
    pub fn of_excerpt(self) -> Self {
        Self {
            is_excerpt: true,
            counted_since_ns: None,
            ..self
        }
    }

    /// Takes the data of an event.
    pub fn note(&mut self, event: &Event) {
        if !self.has_evidence {
            self.evidence.note(event);
        } else if self.is_excerpt {
            self.evidence.note_failure(event);
        }
    }

    /// Takes the data of all events, including those not passed to [`Self::note`]. From then on only this counts.
    pub fn take_evidence(&mut self, delta: EvidenceDelta) {
        let is_first = !std::mem::replace(&mut self.has_evidence, true);
        if self.is_excerpt {
            if is_first {
                self.evidence.forget_made();
            }
            self.evidence.add(delta.without_failures());
        } else {
            if is_first {
                self.evidence = Evidence::default();
            }
            self.evidence.add(delta);
        }
    }

    /// Takes a sample: the first is the start of rates, the latest the start of forecasts. `mono_ns` is
    /// CLOCK_MONOTONIC.
    pub fn sample(&mut self, samples: SocketSamples, mono_ns: u64) {
        match self.start {
            None => self.start = Some((sockets(samples), mono_ns)),
            Some(_) => self.end = Some((samples, mono_ns)),
        }
    }

    /// Takes the holders of live sockets, as found with the latest sample.
    pub fn take_holders(&mut self, holders: Vec<PoolHolders>) {
        self.live_by = holders;
    }

    /// Rates start from the latest sample.
    pub fn rotate(&mut self) {
        if let Some((samples, mono_ns)) = self.end.take() {
            self.start = Some((sockets(samples), mono_ns));
            self.evidence.forget_made();
            self.counted_since_ns = None;
        }
    }

    /// Begins another interval: failures count from here, rates continue.
    pub fn begin_interval(&mut self) {
        self.evidence.age();
    }

    /// The pools that the filter shows: by namespace, source and destination. They are not known by process, as
    /// TIME_WAITs have none. Empty without a second sample. `until_ns`: the time of the latest event that was noted,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub fn budgets(&self, filter: &Filter, until_ns: u64) -> Budgets {
        let (Some((start, start_ns)), Some((end, end_ns))) = (&self.start, &self.end) else {
            return Budgets::default();
        };
        let gone = Err("the namespace was removed".to_owned());
        let mut samples: HashMap<u32, &Result<SocketSample, String>> =
            end.iter().map(|(netns, sample)| (*netns, sample)).collect();
        for netns in self.evidence.namespaces() {
            samples.entry(netns).or_insert(&gone);
        }
        let mut budgets = Budgets::default();
        for (netns, sample) in samples {
            let why = sample.as_ref().err().map_or("", String::as_str);
            let namespace = NamespacePorts {
                netns,
                sysctls: sample
                    .as_ref()
                    .map(|sample| &sample.sysctls)
                    .map_err(|_| why),
                start: start.get(&netns),
                end: sample
                    .as_ref()
                    .map(|sample| &sample.sockets)
                    .map_err(|_| why),
                lasted_ns: end_ns.saturating_sub(*start_ns),
                counted_ns: until_ns
                    .max(*end_ns)
                    .saturating_sub(self.counted_since_ns.unwrap_or(*start_ns)),
            };
            each_row(&namespace, &self.evidence, &mut |row| {
                if is_shown(&row, filter) {
                    budgets.push(row);
                }
            });
            if !why.is_empty() && filter.shows_netns(netns) {
                budgets.unknown.push(UnscannedRow {
                    netns,
                    why: why.to_owned(),
                });
            }
        }
        budgets.unknown.sort_by_key(|unknown| unknown.netns);
        budgets.fold();
        budgets.rows.shrink_to_fit();
        row::sort(&mut budgets.rows);
        let mut named = 0;
        for row in &mut budgets.rows {
            if let Some(found) = self.live_by.iter().find(|found| found.are_of(row)) {
                row.live_by.clone_from(&found.holders);
            }
            if let Some(found) = self.live_by.iter().find(|it| it.are_bound_beside(row))
                && named < MAX_NAMED
            {
                named += 1;
                row.bound_by.clone_from(&found.holders);
            }
        }
        budgets.others.failures += self.evidence.further_failures();
        budgets
    }
}

impl Budgets {
    /// Never keeps many more than are shown.
    fn push(&mut self, row: BudgetRow) {
        if self.rows.len() >= MAX_BUDGETS + MAX_BUDGETS / 16 {
            self.fold();
        }
        self.rows.push(row);
    }

    /// Sums up those beyond the fullest.
    fn fold(&mut self) {
        if self.rows.len() > MAX_BUDGETS {
            self.rows.select_nth_unstable_by(MAX_BUDGETS, row::order);
            let further = &self.rows[MAX_BUDGETS..];
            self.others.add(&OtherBudgets::of(further));
            self.rows.truncate(MAX_BUDGETS);
        }
    }
}

/// The sockets of namespaces that could be sampled.
fn sockets(samples: SocketSamples) -> HashMap<u32, ClientSockets> {
    samples
        .into_iter()
        .filter_map(|(netns, sample)| Some((netns, sample.ok()?.sockets)))
        .collect()
}

fn is_shown(row: &BudgetRow, filter: &Filter) -> bool {
    // A source that is not known, or a destination that may be any, meets no condition on it.
    filter.shows_netns(row.netns)
        && filter.shows_local(row.source.map(|source| (source, 0).into()))
        && filter.shows_remote(row.destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_events_tell_of_a_namespace_that_is_gone_is_kept() {
        let mut ledger = Ledger::default();
        ledger.sample(SocketSamples::new(), 1);
        let mut failure = crate::event::samples::port_alloc();
        failure.netns = Some(7);
        ledger.note(&failure);
        ledger.sample(SocketSamples::new(), 2);
        let budgets = ledger.budgets(&Filter::default(), 2);
        let row = budgets.rows.iter().find(|row| row.netns == 7).unwrap();
        assert_eq!((row.failures, row.capacity), (1, None));
        assert!(budgets.unknown.iter().any(|row| row.netns == 7));
    }

    #[test]
    fn what_all_events_told_counts_and_those_that_are_shown_not_once_more() {
        let failure = crate::event::samples::port_alloc();
        let mut all = Evidence::default();
        all.note(&failure);
        all.note(&failure);
        let mut ledger = Ledger::default();
        ledger.note(&failure);
        ledger.take_evidence(all.take());
        ledger.note(&failure);
        ledger.sample(SocketSamples::new(), 1);
        ledger.sample(SocketSamples::new(), 2);
        let budgets = ledger.budgets(&Filter::default(), 2);
        assert_eq!((budgets.rows.len(), budgets.rows[0].failures), (1, 2));
    }

    #[test]
    fn failures_of_a_part_are_those_of_its_events() {
        let failure = crate::event::samples::port_alloc();
        let all = |count: usize| {
            let mut all = Evidence::default();
            (0..count).for_each(|_| all.note(&failure));
            all.take()
        };
        let mut ledger = Ledger::default().of_excerpt();
        ledger.note(&failure);
        // What was summed up before it began, and in it.
        ledger.take_evidence(all(7));
        ledger.note(&failure);
        ledger.take_evidence(all(1));
        ledger.sample(SocketSamples::new(), 1);
        ledger.sample(SocketSamples::new(), 2);
        let budgets = ledger.budgets(&Filter::default(), 2);
        assert_eq!((budgets.rows.len(), budgets.rows[0].failures), (1, 2));
    }

    #[test]
    fn nothing_is_said_after_one_look() {
        let mut ledger = Ledger::default();
        ledger.note(&crate::event::samples::port_alloc());
        ledger.sample(SocketSamples::new(), 1);
        assert!(ledger.budgets(&Filter::default(), 2).rows.is_empty());
    }
}
