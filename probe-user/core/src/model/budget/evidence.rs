//! What events report about port pools: failures, TIME_WAITs created, which processes bind before they connect.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use hashbrown::DefaultHashBuilder;
use twtrace_wire::{PortOp, ProcessKey, Side};

use super::latest::LatestNetns;
use crate::event::errno::Errno;
use crate::event::{Event, EventFacts, PortAlloc, PortResult, SocketRange};
use crate::model::compact_map::CompactMap;

/// What events reported about port pools since the last call: by network namespace, unordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceDelta {
    /// Numbers that another network namespace has got: data of the earlier one is void. Ascending.
    pub taken_over: Vec<u32>,
    /// By pool. A pool without figures exists nevertheless.
    pub budgets: Vec<(u32, Pool, PoolCounts)>,
    /// Failures in pools beyond the limit.
    pub further_failures: u64,
}

impl EvidenceDelta {
    /// The same with TIME_WAITs created, and which pools there are, alone.
    #[must_use]
    pub fn without_failures(mut self) -> Self {
        for (_, _, counts) in &mut self.budgets {
            counts.failures = 0;
        }
        self.further_failures = 0;
        // Events say so, too: failures that were noted since are of the namespace that has the number now.
        self.taken_over.clear();
        self
    }
}

/// Maximum number of pools, processes and ports each.
const MAX_KEYS: usize = 65_536;

const IN_USE: Errno = Errno(libc::EADDRINUSE as u16);
const NOT_AVAILABLE: Errno = Errno(libc::EADDRNOTAVAIL as u16);

/// Which sockets share the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pool {
    /// connect() allocates a port: a pool for each destination.
    Connect {
        /// Source address; `None` if no hook reported it.
        source: Option<IpAddr>,
        /// Destination.
        destination: SocketAddr,
        /// The range that sockets set for themselves (IP_LOCAL_PORT_RANGE), if they do: they compete for these ports
        /// only.
        own: Option<SocketRange>,
    },
    /// bind() to any port precedes connect(): one pool for all destinations of a source address.
    Bind {
        /// Source address; the unspecified one stands for all.
        source: IpAddr,
    },
}

/// Data of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// TIME_WAITs created.
    pub made: u64,
    /// Allocations that found no port: EADDRNOTAVAIL of connect(), EADDRINUSE of bind() to any port.
    pub failures: u64,
}

#[derive(Debug, Default)]
struct PoolEntry {
    counts: PoolCounts,
    /// Something was reported since [`Evidence::age`].
    is_fresh: bool,
}

/// Data by network namespace and pool.
#[derive(Debug, Default)]
pub struct Evidence {
    by_netns: HashMap<u32, CompactMap<Pool, PoolEntry>, DefaultHashBuilder>,
    /// Number of pools in `by_netns`.
    kept: usize,
    /// Failures in pools beyond [`MAX_KEYS`].
    further_failures: u64,
    /// Processes that have bound to any port.
    binders: HashSet<(u32, ProcessKey)>,
    latest: LatestNetns,
    /// See [`EvidenceDelta::taken_over`].
    taken_over: BTreeSet<u32>,
}

impl Evidence {
    /// Takes the data of an event.
    pub fn note(&mut self, event: &Event) {
        let Some(netns) = event.netns else {
            return;
        };
        let mut is_taken_over = false;
        let forget = || is_taken_over = true;
        if !self.latest.is_of_latest(netns, event.netns_nth, forget) {
            return;
        }
        if is_taken_over {
            self.forget_namespace(netns);
            self.taken_over.insert(netns);
        }
        match &event.facts {
            EventFacts::TimeWait(_) if event.event == twtrace_wire::EventKind::TimeWait => {
                self.note_made(netns, event);
            }
            EventFacts::PortAlloc(facts) => self.note_search(netns, event, facts),
            _ => {}
        }
    }

    /// Takes no other data of an event than that it is a failure.
    pub fn note_failure(&mut self, event: &Event) {
        if let EventFacts::PortAlloc(facts) = &event.facts
            && matches!(facts.result, PortResult::Failed(_))
        {
            self.note(event);
        }
    }

    fn forget_namespace(&mut self, netns: u32) {
        if let Some(pools) = self.by_netns.remove(&netns) {
            self.kept -= pools.len();
        }
        self.binders.retain(|(known, _)| *known != netns);
    }

    fn note_made(&mut self, netns: u32, event: &Event) {
        if let (Side::Client, Some(local), Some(destination)) =
            (event.side, event.local, event.remote)
        {
            let pool = Pool::Connect {
                source: Some(local.ip()),
                destination,
                own: None,
            };
            if let Some(counts) = self.counts(netns, pool) {
                counts.made += 1;
            }
        }
    }

    fn note_search(&mut self, netns: u32, event: &Event, facts: &PortAlloc) {
        let process = event.process.as_ref().map(|process| process.key);
        match (facts.op, facts.requested, facts.result) {
            (PortOp::Bind, 0, PortResult::Ok) => {
                if let Some(process) = process
                    && self.binders.len() < MAX_KEYS
                {
                    self.binders.insert((netns, process));
                }
            }
            (PortOp::Bind, 0, PortResult::Failed(IN_USE)) => {
                if let Some(source) = event.local.map(|local| local.ip()) {
                    self.failed(netns, Pool::Bind { source });
                }
            }
            (PortOp::Connect, 0, PortResult::Failed(NOT_AVAILABLE)) => {
                if let Some(pool) = connects_pool(event, facts) {
                    self.failed(netns, pool);
                }
            }
            (PortOp::Connect, 0, PortResult::Ok) if facts.socket_range.is_some() => {
                if let Some(pool) = connects_pool(event, facts) {
                    self.counts(netns, pool);
                }
            }
            (PortOp::Connect, 1.., _) => {
                if let (Some(process), Some(local)) = (process, event.local)
                    && self.binders.contains(&(netns, process))
                {
                    self.counts(netns, Pool::Bind { source: local.ip() });
                }
            }
            _ => {}
        }
    }

    fn failed(&mut self, netns: u32, pool: Pool) {
        match self.counts(netns, pool) {
            Some(counts) => counts.failures += 1,
            None => self.further_failures += 1,
        }
    }

    /// `None` if there is no room.
    fn counts(&mut self, netns: u32, pool: Pool) -> Option<&mut PoolCounts> {
        let pools = self.by_netns.entry(netns).or_default();
        let before = pools.len();
        // The rest of the limit, which all namespaces share.
        let max = before + (MAX_KEYS - self.kept);
        let (number, entry) = pools.within(pool, max, PoolEntry::default)?;
        self.kept += usize::from(number == before);
        entry.is_fresh = true;
        Some(&mut entry.counts)
    }

    /// Network namespaces with data.
    pub fn namespaces(&self) -> impl Iterator<Item = u32> {
        self.by_netns.keys().copied()
    }

    /// The data of one namespace.
    pub fn of(&self, netns: u32) -> impl Iterator<Item = (Pool, PoolCounts)> {
        let pools = self
            .by_netns
            .get(&netns)
            .into_iter()
            .flat_map(CompactMap::iter);
        pools.map(|(pool, entry)| (*pool, entry.counts))
    }

    /// Whether there is data of one pool.
    pub fn has(&self, netns: u32, pool: &Pool) -> bool {
        let pools = self.by_netns.get(&netns);
        pools.is_some_and(|pools| pools.number(pool).is_some())
    }

    /// Resets the count of TIME_WAITs.
    pub fn forget_made(&mut self) {
        for entry in self.by_netns.values_mut().flat_map(CompactMap::values_mut) {
            entry.counts.made = 0;
        }
    }

    /// Resets the count of failures, and forgets pools without data since the last call: what is kept for weeks would
    /// fill up otherwise.
    pub fn age(&mut self) {
        for pools in self.by_netns.values_mut() {
            pools.retain(|_, entry| std::mem::take(&mut entry.is_fresh));
            pools
                .values_mut()
                .for_each(|entry| entry.counts.failures = 0);
        }
        self.by_netns.retain(|_, pools| !pools.is_empty());
        self.kept = self.by_netns.values().map(CompactMap::len).sum();
        self.further_failures = 0;
        if self.binders.len() >= MAX_KEYS {
            // Processes that still bind become known again soon.
            self.binders.clear();
        }
    }

    /// Takes the data since the last call. It is forgotten, except for which processes bind before they connect.
    pub fn take(&mut self) -> EvidenceDelta {
        self.kept = 0;
        let all = std::mem::take(&mut self.by_netns).into_iter();
        let budgets = all.flat_map(|(netns, pools)| {
            let pools = pools
                .iter()
                .map(|(pool, entry)| (netns, *pool, entry.counts));
            pools.collect::<Vec<_>>()
        });
        EvidenceDelta {
            taken_over: std::mem::take(&mut self.taken_over).into_iter().collect(),
            budgets: budgets.collect(),
            further_failures: std::mem::take(&mut self.further_failures),
        }
    }

    /// Adds data from another source.
    pub fn add(&mut self, since: EvidenceDelta) {
        for netns in since.taken_over {
            self.forget_namespace(netns);
        }
        for (netns, pool, more) in since.budgets {
            match self.counts(netns, pool) {
                Some(counts) => {
                    counts.made = counts.made.saturating_add(more.made);
                    counts.failures = counts.failures.saturating_add(more.failures);
                }
                None => self.further_failures = self.further_failures.saturating_add(more.failures),
            }
        }
        self.further_failures = self.further_failures.saturating_add(since.further_failures);
    }

    /// Failures whose pool is unknown for lack of room.
    pub fn further_failures(&self) -> u64 {
        self.further_failures
    }
}

/// The pool in which a connect() allocated a port.
fn connects_pool(event: &Event, facts: &PortAlloc) -> Option<Pool> {
    // The system-call tier does not report the source address.
    let source = event
        .local
        .map(|local| local.ip())
        .filter(|source| !source.is_unspecified());
    Some(Pool::Connect {
        source,
        destination: event.remote?,
        own: facts.socket_range,
    })
}

#[cfg(any(test, feature = "samples"))]
pub mod samples {
    use super::*;
    use crate::event::samples;

    /// An allocation by pid 1234.
    pub fn search(op: PortOp, requested: u16, errno: Option<i32>) -> Event {
        let mut event = samples::port_alloc();
        if let EventFacts::PortAlloc(facts) = &mut event.facts {
            facts.op = op;
            facts.requested = requested;
            facts.result = errno.map_or(PortResult::Ok, |errno| {
                PortResult::Failed(Errno(errno as u16))
            });
        }
        event
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
