//! Events of each process by destination.

use std::collections::HashMap;
use std::sync::Arc;

use twtrace_wire::{EventKind, PortOp, ProcessKey, ResetDirection, ResetReason, Side};

use super::compact_map::CompactMap;
use super::destination::Destination;
use super::reuse::Reuse;
use crate::event::{Event, EventFacts, PortResult, Process};

/// Maximum number of separate pairs of process and destination; events of further ones are left out.
const MAX_PAIRS: usize = 65_536;

/// The namespace, and how many earlier ones had its number.
type Key = (u32, u32, Side, Destination, ProcessKey);

/// Figures by process and destination, from events: lower bounds if events were lost.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    rows: CompactMap<Key, PackedPair>,
    /// The process that acted last: in most cases also the next one.
    last: Option<Arc<Process>>,
    left_out: u64,
}

/// Figures of one pair: in most cases only TIME_WAITs.
#[derive(Clone, Debug, Default)]
struct PackedPair {
    /// The process at its last event. Many pairs share it.
    process: Option<Arc<Process>>,
    time_wait: u64,
    /// Everything except the process and TIME_WAITs.
    more: Option<Box<PairCounts>>,
}

impl PackedPair {
    fn add(&mut self, did: &PairCounts) {
        self.time_wait += did.time_wait;
        if did.events() > did.time_wait || !did.reuse.is_empty() {
            let more = self.more.get_or_insert_default();
            more.add(did);
            more.time_wait = 0;
        }
    }

    fn whole(&self) -> PairCounts {
        PairCounts {
            process: self.process.as_deref().cloned(),
            time_wait: self.time_wait,
            ..self.more.as_deref().cloned().unwrap_or_default()
        }
    }
}

/// Figures of one process with one destination.
#[derive(Clone, Debug)]
pub struct PairRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// The destination.
    pub destination: Destination,
    /// Its displayed name: `nginx(7)`, or `(unknown)`.
    pub process: String,
    /// Its id, 0 if there is no process.
    pub pid: u32,
    /// The figures.
    pub did: PairCounts,
}

/// Figures of one pair.
#[derive(Clone, Debug, Default)]
pub struct PairCounts {
    /// The process at its last event.
    pub process: Option<Process>,
    /// TIME_WAITs created by closing first.
    pub time_wait: u64,
    /// RSTs sent by closing with SO_LINGER 0.
    pub linger_zero: u64,
    /// connect() calls that found no local port.
    pub connect_failures: u64,
    /// bind() calls to any port that found none.
    pub bind_failures: u64,
    /// Its connects that found TIME_WAITs they could not reuse. Reused ones are not counted here.
    pub reuse: Reuse,
}

/// Figures of one process with one destination, as sums that can be added up.
#[derive(Clone, Debug)]
pub struct PairSums {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many earlier namespaces had this number since tracing began.
    pub netns_nth: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// The destination.
    pub destination: Destination,
    /// The process, or the key for none.
    pub key: ProcessKey,
    /// The figures.
    pub did: PairCounts,
}

impl PairCounts {
    fn add(&mut self, other: &Self) {
        self.time_wait += other.time_wait;
        self.linger_zero += other.linger_zero;
        self.connect_failures += other.connect_failures;
        self.bind_failures += other.bind_failures;
        self.reuse.add_all(&other.reuse);
    }

    /// Number of events that are counted here.
    pub fn events(&self) -> u64 {
        let searches = self.connect_failures + self.bind_failures;
        self.time_wait + self.linger_zero + searches.max(self.reuse.hindered)
    }
}

impl Pairs {
    /// Counts an event.
    pub fn apply(&mut self, event: &Event) {
        let Some(netns) = event.netns else {
            return;
        };
        let mut one = PairCounts::default();
        match &event.facts {
            EventFacts::TimeWait(_) if event.event == EventKind::TimeWait => one.time_wait = 1,
            EventFacts::Reset(facts)
                if facts.direction == ResetDirection::Sent
                    && facts.reason == ResetReason::LingerZero =>
            {
                one.linger_zero = 1;
            }
            EventFacts::PortAlloc(facts) => {
                one.reuse.add(event);
                match (facts.op, facts.result) {
                    _ if facts.requested != 0 => {}
                    (PortOp::Connect, PortResult::Failed(errno))
                        if errno.0 == libc::EADDRNOTAVAIL as u16 =>
                    {
                        one.connect_failures = 1;
                    }
                    (PortOp::Bind, PortResult::Failed(errno))
                        if errno.0 == libc::EADDRINUSE as u16 =>
                    {
                        one.bind_failures = 1;
                    }
                    _ => {}
                }
                if one.reuse.is_empty() && one.connect_failures + one.bind_failures == 0 {
                    return;
                }
            }
            _ => return,
        }
        let key = (
            netns,
            event.netns_nth,
            event.side,
            Destination::of(event.side, event),
            event.answerable().key(),
        );
        let process = event.process.as_ref().map(|process| self.shared(process));
        let Some((_, row)) = self.rows.within(key, MAX_PAIRS, PackedPair::default) else {
            self.left_out += 1;
            return;
        };
        row.add(&one);
        row.process = process;
    }

    /// The current state of a process, shared between rows.
    fn shared(&mut self, process: &Process) -> Arc<Process> {
        match &self.last {
            Some(last) if last.is_as(process) => Arc::clone(last),
            _ => {
                let new = Arc::new(process.clone());
                self.last = Some(Arc::clone(&new));
                new
            }
        }
    }

    /// Adds figures that were counted elsewhere.
    pub fn add(&mut self, sums: PairSums) {
        let key = (
            sums.netns,
            sums.netns_nth,
            sums.side,
            sums.destination,
            sums.key,
        );
        let process = sums
            .did
            .process
            .as_ref()
            .map(|process| self.shared(process));
        let Some((_, row)) = self.rows.within(key, MAX_PAIRS, PackedPair::default) else {
            self.left_out += sums.did.events();
            return;
        };
        row.add(&sums.did);
        row.process = process;
    }

    /// Adds events that found no room elsewhere.
    pub fn add_left_out(&mut self, events: u64) {
        self.left_out += events;
    }

    /// The rows as sums that can be added up, those with the most first.
    pub fn sums(&self) -> Vec<PairSums> {
        let rows = self.rows.iter();
        let mut sums: Vec<PairSums> = rows
            .map(
                |((netns, netns_nth, side, destination, key), did)| PairSums {
                    netns: *netns,
                    netns_nth: *netns_nth,
                    side: *side,
                    destination: *destination,
                    key: *key,
                    did: did.whole(),
                },
            )
            .collect();
        sums.sort_by_cached_key(|row| {
            let place = (
                (row.netns, row.netns_nth),
                row.side as u32,
                row.destination,
                row.key,
            );
            (std::cmp::Reverse(row.did.events()), place)
        });
        sums
    }

    /// The rows, those with the most TIME_WAITs first. If several namespaces had the same number, only those of the
    /// last one: the others no longer exist.
    pub fn rows(&self) -> Vec<PairRow> {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for ((netns, netns_nth, ..), _) in self.rows.iter() {
            let last = last.entry(*netns).or_default();
            *last = (*last).max(*netns_nth);
        }
        let mut rows: Vec<PairRow> = self
            .rows
            .iter()
            .filter(|((netns, netns_nth, ..), _)| last.get(netns) == Some(netns_nth))
            .map(|((netns, _, side, destination, key), did)| PairRow {
                netns: *netns,
                side: *side,
                destination: *destination,
                process: did
                    .process
                    .as_deref()
                    .map_or_else(|| NOBODY.to_owned(), name),
                pid: key.tgid,
                did: did.whole(),
            })
            .collect();
        rows.sort_by_cached_key(|row| {
            let figures = (
                row.did.time_wait,
                row.did.linger_zero,
                row.did.connect_failures + row.did.bind_failures,
            );
            let place = (row.netns, row.side as u32, row.destination, row.pid);
            (std::cmp::Reverse(figures), place)
        });
        rows
    }

    /// Number of events that found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// The name of an unknown process.
pub const NOBODY: &str = "(unknown)";

/// Such as `nginx(7)`. The name is untrusted: escape it before printing.
pub fn name(process: &Process) -> String {
    format!("{}({})", process.comm.text(), process.key.tgid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn events_are_counted_by_process_and_destination() {
        let mut pairs = Pairs::default();
        pairs.apply(&samples::time_wait());
        pairs.apply(&samples::time_wait());
        pairs.apply(&samples::reset());
        pairs.apply(&samples::port_alloc());
        pairs.apply(&samples::abort());
        let mut nobodys = samples::time_wait();
        nobodys.process = None;
        pairs.apply(&nobodys);
        let rows = pairs.rows();
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!(
            (rows[0].process.as_str(), rows[0].pid),
            ("curl(1234)", 1234)
        );
        assert_eq!((rows[0].did.time_wait, rows[0].did.linger_zero), (2, 1));
        assert_eq!(rows[0].did.connect_failures, 1);
        assert_eq!(rows[0].did.reuse.hindered, 1);
        assert_eq!(
            (rows[1].process.as_str(), rows[1].did.time_wait),
            (NOBODY, 1)
        );
        assert_eq!(pairs.left_out(), 0);
    }
}
