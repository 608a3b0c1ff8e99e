//! What is read of the kernel beside events: together with them all that reports are made of.

use std::collections::HashMap;

use twtrace_wire::{PortKey, PortTotals, ProcessKey, ProcessTotals};

use super::audit::AuditRow;
use super::budget::evidence::EvidenceDelta;
use super::budget::ledger::SocketSamples;
use super::close_wait::CloseWaitConnection;
use super::memory::CacheRow;
use super::report::UnscannedRow;
use super::stacks::StackRow;
use crate::event::{Moment, Process};
use crate::model::namespace::NamespaceSamples;
use crate::model::netns_name::NetnsName;

/// One observation.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When it was made.
    pub at: Moment,
    /// What was seen.
    pub data: ObservationData,
}

/// What was seen.
#[derive(Clone, Debug)]
pub enum ObservationData {
    /// Sockets and settings that decide about local ports, of every namespace. Made when tracing begins, now and
    /// then, and when it ends.
    Sockets(SocketSamples),
    /// Settings and counters of every namespace; likewise.
    Namespaces(NamespaceSamples),
    /// Names of namespaces; likewise.
    Names(Vec<NetnsName>),
    /// Connections that the peer has closed and their process has not.
    CloseWait(CloseWait),
    /// What the kernel's tables take.
    Memory(Vec<CacheRow>),
    /// Births that were traced against those that the kernel counted, since tracing began.
    Audit(Vec<AuditRow>),
    /// What the kernel side counted since tracing began.
    Totals(KernelTotals),
    /// What places in the code led to, since tracing began.
    Stacks(Vec<StackRow>),
    /// What events told of budgets since the last time, those included that a recording's filter hides. Only recordings
    /// with a filter have it.
    Evidence(EvidenceDelta),
    /// The processes of the command that is followed, as far as they are known.
    Family(Vec<Process>),
    /// Tracing ended: nothing follows.
    End,
}

/// Connections in CLOSE_WAIT at one moment.
#[derive(Clone, Debug, Default)]
pub struct CloseWait {
    /// Each of them.
    pub connections: Vec<CloseWaitConnection>,
    /// Namespaces of which that is not known.
    pub unscanned: Vec<UnscannedRow>,
    /// How exactly start times of their holders are known, nanoseconds: /proc counts in ticks, events in
    /// nanoseconds.
    pub tick_ns: u64,
}

/// What the kernel side counted.
#[derive(Clone, Debug, Default)]
pub struct KernelTotals {
    /// By process, and by reason where there is none.
    pub processes: Vec<(ProcessKey, ProcessTotals)>,
    /// Port searches by process, operation and exactness.
    pub ports: Vec<(PortKey, PortTotals)>,
    /// Runs of our programs that the kernel skipped, by program; `None` where it does not count them.
    pub recursion_misses: Option<Vec<(String, u64)>>,
    /// The processes, completed. One whose events were seen is shown as they told of it.
    pub named: HashMap<ProcessKey, Process>,
}

impl KernelTotals {
    /// Adds what was counted later.
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
