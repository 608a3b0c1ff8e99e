//! Who did what towards whom: the events of each process by destination.

use std::collections::HashMap;
use std::sync::Arc;

use twtrace_wire::{EventKind, PortOp, ProcessKey, ResetDirection, ResetReason, Side};

use super::compact_map::CompactMap;
use super::destination::Destination;
use super::reuse::Reuse;
use crate::event::{Event, EventFacts, PortResult, Process};

/// Pairs of process and destination kept apart; what further ones do is left out.
const MAX_PAIRS: usize = 65_536;

/// The namespace, and how many had its number before it.
type Key = (u32, u32, Side, Destination, ProcessKey);

/// Facts by process and destination, from events: lower bounds where events were lost.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    rows: CompactMap<Key, PackedPair>,
    /// The one that acted last: mostly the next one as well.
    last: Option<Arc<Process>>,
    left_out: u64,
}

/// Numbers of one pair: mostly TIME_WAITs alone.
#[derive(Clone, Debug, Default)]
struct PackedPair {
    /// As it was when it acted last. Many have the same.
    process: Option<Arc<Process>>,
    time_wait: u64,
    /// All but the process and TIME_WAITs.
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

/// What one process did towards one destination.
#[derive(Clone, Debug)]
pub struct PairRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// Towards whom.
    pub destination: Destination,
    /// How it is called: `nginx(7)`, or `(unknown)`.
    pub process: String,
    /// Its id, 0 where there is no process.
    pub pid: u32,
    /// What it did.
    pub did: PairCounts,
}

/// Numbers of one pair.
#[derive(Clone, Debug, Default)]
pub struct PairCounts {
    /// As it was when it acted last.
    pub process: Option<Process>,
    /// TIME_WAITs made by closing first.
    pub time_wait: u64,
    /// RSTs sent by closing with SO_LINGER 0.
    pub linger_zero: u64,
    /// connect() that found no local port.
    pub connect_failures: u64,
    /// bind() to any port that found none.
    pub bind_failures: u64,
    /// Its connects that met TIME_WAITs they could not take. Those that they took are not counted here.
    pub reuse: Reuse,
}

/// What one process did towards one destination, in sums that can be added to.
#[derive(Clone, Debug)]
pub struct PairSums {
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

    /// Events that are counted here.
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

    /// A process as it is now, which rows have in common.
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

    /// Adds what was counted elsewhere.
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

    /// The rows as they can be added to others, those with the most first.
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

    /// The rows, those with the most TIME_WAITs first. Of namespaces that had the same number only those of the last one:
    /// the others are gone.
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

    /// Events that found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// What stands for a process that is not known.
pub const NOBODY: &str = "(unknown)";

/// `nginx(7)`. Whoever started it chose the name: to be escaped before it is printed.
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
