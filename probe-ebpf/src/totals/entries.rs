//! Entries of the maps of totals, created if missing.

use twtrace_wire::{
    LATENCY_BUCKETS, NetnsKey, NetnsTotals, PortKey, PortTotals, Probe, ProcessKey, ProcessTotals,
};

use crate::maps::{EPOCH, NETNS, PORTS, PROCESSES, lost::count_lost};

/// `BPF_NOEXIST`: two CPUs may create the same entry.
const NO_EXIST: u64 = 1;

/// Copied into the map for a new process, since it is too large for the stack.
static NO_TOTALS: ProcessTotals = ProcessTotals {
    time_wait: [0; 3],
    fin_wait2: [0; 3],
    overflow: [0; 3],
    reset_sent: [0; 10],
    reset_received: [0; 10],
    abort: [0; 4],
    ended: [0; 5],
    reused: 0,
    hindered: 0,
    refused: [0; 7],
};

/// Kept off the stack, of which callers have little left.
static NO_NETNS: NetnsTotals = NetnsTotals {
    births: 0,
    overflow: 0,
    ends: 0,
    inferred: 0,
    reused: 0,
    resets_sent: 0,
    connections_reset: 0,
};

static NO_PORTS: PortTotals = PortTotals {
    count: 0,
    failures: 0,
    untimed: 0,
    max_ns: 0,
    buckets: [0; LATENCY_BUCKETS],
};

/// The key under which a process is counted in the current epoch.
#[inline(always)]
pub fn in_this_epoch(key: ProcessKey) -> ProcessKey {
    key.in_epoch(EPOCH.get(0).map_or(0, |epoch| *epoch & 1))
}

/// The totals of a process, or of a reason without a process, in this epoch; created if missing.
#[inline(always)]
pub fn of_process(key: &ProcessKey) -> Option<*mut ProcessTotals> {
    let key = in_this_epoch(*key);
    if let Some(totals) = PROCESSES.get_ptr_mut(key) {
        return Some(totals);
    }
    let _ = PROCESSES.insert(key, &NO_TOTALS, NO_EXIST);
    let totals = PROCESSES.get_ptr_mut(key);
    if totals.is_none() {
        count_lost(Probe::ProcessMap);
    }
    totals
}

/// The totals of a network namespace, created if missing.
#[inline(always)]
pub fn of_netns(netns: NetnsKey) -> Option<*mut NetnsTotals> {
    if let Some(totals) = NETNS.get_ptr_mut(netns) {
        return Some(totals);
    }
    let _ = NETNS.insert(netns, &NO_NETNS, NO_EXIST);
    let totals = NETNS.get_ptr_mut(netns);
    if totals.is_none() {
        count_lost(Probe::NetnsMap);
    }
    totals
}

/// The totals of a process and operation, created if missing.
#[inline(always)]
pub fn of_port(key: &PortKey) -> Option<*mut PortTotals> {
    if let Some(totals) = PORTS.get_ptr_mut(key) {
        return Some(totals);
    }
    let _ = PORTS.insert(key, &NO_PORTS, NO_EXIST);
    let totals = PORTS.get_ptr_mut(key);
    if totals.is_none() {
        count_lost(Probe::PortMap);
    }
    totals
}
