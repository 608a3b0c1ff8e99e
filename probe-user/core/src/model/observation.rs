//! Data read from the kernel beside events: reports are built from both.

use std::collections::HashMap;

use twtrace_wire::{PortKey, PortTotals, ProcessKey, ProcessTotals};

use super::audit::AuditRow;
use super::budget::evidence::EvidenceDelta;
use super::budget::holders::PoolHolders;
use super::budget::ledger::SocketSamples;
use super::close_wait::CloseWaitConnection;
use super::listener::ListenerSample;
use super::memory::CacheRow;
use super::port_holders::PortHolders;
use super::report::UnscannedRow;
use super::stacks::StackRow;
use super::unacknowledged::UnacknowledgedRow;
use crate::event::{Moment, Process};
use crate::model::namespace::NamespaceSamples;
use crate::model::netns_name::NetnsName;

/// One observation.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Its time.
    pub at: Moment,
    /// Its content.
    pub data: ObservationData,
}

/// The content of an observation.
#[derive(Clone, Debug)]
pub enum ObservationData {
    /// Sockets and settings that concern local ports, of every namespace. Sampled when tracing begins, at intervals,
    /// and when it ends.
    Sockets(SocketSamples),
    /// Who has the live sockets of port pools that these nearly fill; sampled at the same times.
    PoolHolders(Vec<PoolHolders>),
    /// Settings and counters of every namespace; sampled at the same times.
    Namespaces(NamespaceSamples),
    /// Names of namespaces; sampled at the same times.
    Names(Vec<NetnsName>),
    /// Connections that the peer has closed and their process has not.
    CloseWait(CloseWait),
    /// The sockets with one local port. Sampled when a call for it has failed, at most once in some seconds.
    PortHolders(PortHolders),
    /// Memory of the kernel's tables.
    Memory(Vec<CacheRow>),
    /// The audit since tracing began: what was traced, compared with what the kernel counted.
    Audit(Vec<AuditRow>),
    /// What the kernel side counted since tracing began.
    Totals(KernelTotals),
    /// Counts by user stack, since tracing began.
    Stacks(Vec<StackRow>),
    /// What events reported about port pools since the last time, including events that a recording's filter hides.
    /// Only recordings with a filter have it.
    Evidence(EvidenceDelta),
    /// The processes of the followed command, as far as known.
    Family(Vec<Process>),
    /// Processes that closed several connections and that no longer run: seen at this time for the first time.
    Exited(Vec<Process>),
    /// Tracing ended: nothing follows.
    End,
}

/// Connections in CLOSE_WAIT at one time.
#[derive(Clone, Debug, Default)]
pub struct CloseWait {
    /// All connections.
    pub connections: Vec<CloseWaitConnection>,
    /// Accept queues of listeners.
    pub listeners: Vec<ListenerSample>,
    /// Connections that send again what nobody acknowledges.
    pub unacknowledged: Vec<UnacknowledgedRow>,
    /// Namespaces that could not be scanned.
    pub unscanned: Vec<UnscannedRow>,
    /// Precision of the start times of their holders, nanoseconds: /proc counts in ticks, events in nanoseconds.
    pub tick_ns: u64,
}

/// What the kernel side counted.
#[derive(Clone, Debug, Default)]
pub struct KernelTotals {
    /// By process, and by reason if there is none.
    pub processes: Vec<(ProcessKey, ProcessTotals)>,
    /// Port allocations by process, operation and exactness.
    pub ports: Vec<(PortKey, PortTotals)>,
    /// Runs of our programs that the kernel skipped, by program; `None` if it does not count them.
    pub recursion_misses: Option<Vec<(String, u64)>>,
    /// The processes with their details. A process with events is shown as reported by these.
    pub named: HashMap<ProcessKey, Process>,
}

impl KernelTotals {
    /// Adds later counts.
    pub fn add(&mut self, later: &Self) {
        fn add<K: Copy + Eq + std::hash::Hash, V: Copy>(
            sums: &mut Vec<(K, V)>,
            later: &[(K, V)],
            add: impl Fn(&mut V, &V),
        ) {
            let places = sums.iter().enumerate();
            let mut places: HashMap<K, usize> =
                places.map(|(place, (key, _))| (*key, place)).collect();
            for (key, more) in later {
                match places.get(key) {
                    Some(place) => add(&mut sums[*place].1, more),
                    None => {
                        places.insert(*key, sums.len());
                        sums.push((*key, *more));
                    }
                }
            }
        }
        add(&mut self.processes, &later.processes, ProcessTotals::add);
        add(&mut self.ports, &later.ports, PortTotals::add);
        self.recursion_misses.clone_from(&later.recursion_misses);
        let named = later.named.iter();
        self.named
            .extend(named.map(|(key, process)| (*key, process.clone())));
    }
}
