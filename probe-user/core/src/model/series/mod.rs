//! Counters of a service for its whole life: they never decrease, by process, by destination and by pair of these, for
//! as many as there is room for.

pub mod figures;
pub mod gauges;
pub mod histogram;
pub mod owner;
pub mod top;

use std::collections::BTreeMap;

use twtrace_wire::{
    EndCause, EventKind, PortKey, PortOp, PortTotals, ProcessKey, Side, Unattributed,
};

use super::budget::ledger::Ledger;
use super::destination::{Destination, Done, towards};
use super::exactness::Losses;
use super::observation::{KernelTotals, Observation, ObservationData};
use super::refused_ports::RefusedPorts;
use super::report::{Exact, LostRow, MissRow};
use super::tally::TracingStart;
use crate::event::answerable::unattributed;
use crate::event::errno::Errno;
use crate::event::{Event, EventFacts, Lost, LostBy, PortAlloc, PortResult, Process, TimeWaitEnd};
use crate::filter::Filter;
use crate::hooks::sees_ends;
use figures::{Added, Searches, SeriesCounters};
use gauges::Gauges;
use histogram::{Histogram, RESIDENCE_BOUNDS_NS};
use owner::Owner;
use top::Top;

/// Maximum number of different errors of port allocations: more than exist.
const MAX_ERRNOS: usize = 64;

/// Limits of separate series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Maximum number of processes, by name and place.
    pub max_processes: usize,
    /// Maximum number of destinations, and each of pairs, port pools and network namespaces.
    pub max_destinations: usize,
}

/// Who acts towards whom: processes of one name and place, and a destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesPair {
    /// The processes, or why there is none.
    pub owner: Owner,
    /// Which end this host's sockets were.
    pub side: Side,
    /// The destination.
    pub destination: Destination,
}

/// Counters and gauges.
#[derive(Debug)]
pub struct Series {
    tracing_start: TracingStart,
    limits: SeriesLimits,
    filter: Filter,
    whole: SeriesCounters,
    /// Port allocations of the whole host, and whether their latencies are exact.
    searches: BTreeMap<(PortOp, bool), Searches>,
    port_errors: BTreeMap<(PortOp, Errno), u64>,
    /// Calls for a fixed port that failed; and those since kernel totals were last added, which count them among the
    /// allocations.
    fixed_port_errors: BTreeMap<(PortOp, Errno), u64>,
    refused_ports: RefusedPorts,
    processes: Top<Owner, SeriesCounters>,
    destinations: Top<(Side, Destination), Done>,
    pairs: Top<SeriesPair, Done>,
    residence: BTreeMap<EndCause, Histogram>,
    lost: BTreeMap<LostBy, u64>,
    recursion_misses: Option<Vec<(String, u64)>>,
    /// Events whose process was known once, and no longer is.
    forgotten: u64,
    ledger: Ledger,
    gauges: Gauges,
}

impl Series {
    /// Initially empty, without a filter.
    pub fn new(tracing_start: &TracingStart, limits: SeriesLimits) -> Self {
        Self {
            limits,
            filter: Filter::default(),
            whole: SeriesCounters::default(),
            searches: BTreeMap::new(),
            port_errors: expected_errors(),
            fixed_port_errors: expected_errors(),
            refused_ports: RefusedPorts::default(),
            processes: Top::new(limits.max_processes),
            destinations: Top::new(limits.max_destinations),
            pairs: Top::new(limits.max_destinations),
            residence: BTreeMap::new(),
            lost: BTreeMap::new(),
            recursion_misses: None,
            forgotten: 0,
            ledger: Ledger::counting_since(tracing_start.at.mono_ns),
            gauges: Gauges::default(),
            tracing_start: tracing_start.clone(),
        }
    }

    /// Counts what passes this filter from here on. Kernel totals up to now have to be taken before.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
    }

    /// Takes an event, whether it passes the filter or not.
    pub fn any_event(&mut self, event: &Event) {
        self.ledger.note(event);
    }

    /// Counts an event that passes the filter.
    pub fn event(&mut self, event: &Event) {
        if matches!(event.facts, EventFacts::NoAddress(_)) {
            return;
        }
        if let Some(towards) = towards(event) {
            self.destinations.count(towards, 1, |done| done.add(event));
            // The end of a TIME_WAIT is no act of the process that created it.
            if event.event != EventKind::TimeWaitEnd {
                let (side, destination) = towards;
                let owner = owner_of(event);
                let pair = SeriesPair {
                    owner,
                    side,
                    destination,
                };
                self.pairs.count(pair, 1, |done| done.add(event));
            }
        }
        match &event.facts {
            EventFacts::TimeWaitEnd(facts) => self.end(event, facts),
            EventFacts::PortAlloc(facts) => self.search(event, facts),
            _ => {}
        }
        let is_end = event.event == EventKind::TimeWaitEnd;
        if !self.filter.is_by_process() || (is_end && !self.sees_ends()) {
            self.add(owner_of(event), &Added::from_event(event));
        }
    }

    /// Counts losses.
    pub fn lost(&mut self, lost: &Lost) {
        *self.lost.entry(lost.probe).or_default() += lost.count;
    }

    /// Takes an observation. [`ObservationData::Totals`] are passed to [`Self::add_totals`].
    pub fn observe(&mut self, observation: &Observation) {
        match &observation.data {
            ObservationData::Sockets(samples) => {
                self.ledger.rotate();
                self.ledger.sample(samples.clone(), observation.at.mono_ns);
                let budgets = self.ledger.budgets(&self.filter, observation.at.mono_ns);
                self.gauges.budgets(budgets, self.limits);
            }
            ObservationData::Namespaces(samples) => {
                self.gauges.namespaces(samples, &self.filter, self.limits)
            }
            ObservationData::Names(names) => self.gauges.names.clone_from(names),
            ObservationData::CloseWait(data) => {
                self.gauges.close_wait(data, &self.filter, self.limits)
            }
            ObservationData::Memory(caches) => self.gauges.caches.clone_from(caches),
            ObservationData::Audit(rows) => self.gauges.audit(rows, self.limits),
            ObservationData::Totals(_)
            | ObservationData::PortHolders(_)
            | ObservationData::PoolHolders(_)
            | ObservationData::Stacks(_)
            | ObservationData::Evidence(_)
            | ObservationData::Family(_)
            | ObservationData::Exited(_)
            | ObservationData::End => {}
        }
    }

    /// Adds the counts of the kernel side since the last time: the source of all counts by process, unless the filter
    /// needs more than they contain.
    pub fn add_totals(&mut self, taken: &KernelTotals) {
        if let Some(misses) = &taken.recursion_misses {
            self.recursion_misses = Some(misses.clone());
        }
        if !self.filter.is_by_process() {
            return;
        }
        let shown = |filter: &Filter, key| filter.shows_process(taken.named.get(&key));
        let totals = taken.processes.iter();
        let totals = totals.filter(|(key, _)| shown(&self.filter, *key));
        let mut added: Vec<(ProcessKey, Added)> = totals
            .map(|(key, totals)| (*key, Added::from_totals(totals, &self.filter)))
            .collect();
        // The most active come first if there is not room for all.
        added.sort_by_cached_key(|(key, added)| (std::cmp::Reverse(added.worth()), *key));
        for (key, added) in added {
            if unattributed(key) == Some(Unattributed::Lost) {
                self.forgotten += added.worth();
            }
            self.add(owner(key, taken.named.get(&key)), &added);
        }
        let refused = std::mem::take(&mut self.refused_ports);
        if !self.filter.shows_kind(EventKind::PortAlloc) {
            return;
        }
        let mut ports: Vec<&(PortKey, PortTotals)> = taken.ports.iter().collect();
        ports.sort_by_key(|(key, totals)| (std::cmp::Reverse(totals.count), *key));
        for (key, totals) in ports {
            let totals = refused.without(key, totals);
            let op = u8::try_from(key.op).ok().and_then(PortOp::from_code);
            if let Some(op) = op.filter(|_| shown(&self.filter, key.process)) {
                let owner = owner(key.process, taken.named.get(&key.process));
                self.processes.count(owner, totals.count, |figures| {
                    figures.searches_by(op).add(&totals);
                });
                let exact = key.exact != 0;
                self.searches.entry((op, exact)).or_default().add(&totals);
            }
        }
    }

    /// An interval ends: decides again which processes have a series of their own.
    pub fn rotate(&mut self) {
        self.processes.rotate();
        self.destinations.rotate();
        self.pairs.rotate();
        self.ledger.begin_interval();
    }

    /// Limits of separate series.
    pub fn limits(&self) -> SeriesLimits {
        self.limits
    }

    /// The start of tracing.
    pub fn tracing_start(&self) -> &TracingStart {
        &self.tracing_start
    }

    /// Totals of all processes, except port allocations.
    pub fn whole(&self) -> &SeriesCounters {
        &self.whole
    }

    /// Port allocations of the whole host, by system call and whether their latencies are exact.
    pub fn searches(&self) -> &BTreeMap<(PortOp, bool), Searches> {
        &self.searches
    }

    /// Port allocations that failed, by system call and error, from events.
    pub fn port_errors(&self) -> &BTreeMap<(PortOp, Errno), u64> {
        &self.port_errors
    }

    /// Calls for a fixed port that failed, by system call and error.
    pub fn fixed_port_errors(&self) -> &BTreeMap<(PortOp, Errno), u64> {
        &self.fixed_port_errors
    }

    /// By process.
    pub fn processes(&self) -> &Top<Owner, SeriesCounters> {
        &self.processes
    }

    /// By destination.
    pub fn destinations(&self) -> &Top<(Side, Destination), Done> {
        &self.destinations
    }

    /// By process and destination.
    pub fn pairs(&self) -> &Top<SeriesPair, Done> {
        &self.pairs
    }

    /// Lifetime of TIME_WAITs, by cause of their end.
    pub fn residence(&self) -> &BTreeMap<EndCause, Histogram> {
        &self.residence
    }

    /// Losses, by probe.
    pub fn losses(&self) -> &BTreeMap<LostBy, u64> {
        &self.lost
    }

    /// Runs of our programs that the kernel skipped, by program; `None` if it does not count them.
    pub fn recursion_misses(&self) -> Option<&[(String, u64)]> {
        self.recursion_misses.as_deref()
    }

    /// The last samples.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Which figures are complete.
    pub fn exact(&self) -> Exact {
        let lost = self.lost.iter().map(|(probe, count)| LostRow {
            probe: *probe,
            count: *count,
        });
        let misses = self.recursion_misses.iter().flatten();
        let misses = misses.map(|(program, count)| MissRow {
            program: program.clone(),
            count: *count,
        });
        let (lost, misses): (Vec<_>, Vec<_>) = (lost.collect(), misses.collect());
        let losses = Losses {
            tiers: &self.tracing_start.tiers,
            lost: &lost,
            misses: Some(&misses),
            by_totals: self.filter.is_by_process(),
            forgotten: self.forgotten,
        };
        losses.exactness().0
    }

    fn sees_ends(&self) -> bool {
        sees_ends(&self.tracing_start.tiers)
    }

    fn end(&mut self, event: &Event, facts: &TimeWaitEnd) {
        if let Some(age_ns) = facts.age_ns {
            let histogram = self.residence.entry(facts.cause);
            histogram
                .or_insert_with(|| Histogram::new(RESIDENCE_BOUNDS_NS))
                .add(age_ns);
        }
        if let Some(by) = &facts.by
            && (!self.filter.is_by_process() || !self.sees_ends())
        {
            let mut added = Added::default();
            added.reuse.add(event);
            self.add(Owner::of(by), &added);
        }
    }

    fn search(&mut self, event: &Event, facts: &PortAlloc) {
        let is_refused = facts.is_refused_port();
        if let PortResult::Failed(errno) = facts.result {
            let errors = if is_refused {
                &mut self.fixed_port_errors
            } else {
                &mut self.port_errors
            };
            if errors.len() < MAX_ERRNOS || errors.contains_key(&(facts.op, errno)) {
                *errors.entry((facts.op, errno)).or_default() += 1;
            }
        }
        if is_refused {
            if self.filter.is_by_process() {
                let process = event.answerable().key();
                self.refused_ports.add(process, facts);
            }
            return;
        }
        if !self.filter.is_by_process() {
            self.processes.count(owner_of(event), 1, |figures| {
                figures.searches_by(facts.op).add_event(facts);
            });
            let searches = self.searches.entry((facts.op, facts.exact));
            searches.or_default().add_event(facts);
        }
    }

    fn add(&mut self, owner: Owner, added: &Added) {
        if !added.is_empty() {
            let count = |figures: &mut SeriesCounters| figures.add(added);
            let come_to = self.processes.count(owner, added.worth(), count);
            self.whole.add(&come_to);
        }
    }
}

/// 0 instead of missing, so that the first failure is visible in rates.
fn expected_errors() -> BTreeMap<(PortOp, Errno), u64> {
    [
        (PortOp::Connect, libc::EADDRNOTAVAIL),
        (PortOp::Bind, libc::EADDRINUSE),
        (PortOp::Listen, libc::EADDRINUSE),
    ]
    .map(|(op, errno)| ((op, Errno(errno as u16)), 0))
    .into()
}

fn owner_of(event: &Event) -> Owner {
    owner(event.answerable().key(), event.process.as_ref())
}

fn owner(key: ProcessKey, named: Option<&Process>) -> Owner {
    match named {
        Some(process) => Owner::of(process),
        None => Owner::Nobody(unattributed(key).unwrap_or(Unattributed::Unknown)),
    }
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
