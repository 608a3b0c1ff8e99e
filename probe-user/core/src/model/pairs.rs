//! Events of each process by destination.

use std::sync::Arc;

use twtrace_wire::{EventKind, PortOp, ProcessKey, ResetDirection, Side, TcpState, Unattributed};

use super::compact_map::CompactMap;
use super::destination::Destination;
use super::lives::COUNTED_FROM;
use super::resets::both_ends::BothEnds;
use super::resets::just_reset::JustReset;
use super::resets::left::LeftByClients;
use super::resets::outage::Outages;
use super::reuse::Reuse;
use super::sparse::Nothing;
use super::unanswered::is_counted;
use crate::event::answerable::{unattributed, without_process};
use crate::event::{Event, EventFacts, PortAlloc, PortResult, Process, Reset};

pub use super::pair_row::{NOBODY, PairCounts, PairRow, name, of_last_namespaces};

/// Maximum number of separate pairs of process and destination; those of further ones are summed up by namespace and side.
const MAX_PAIRS: usize = 65_536;
/// The same for pairs without a process: any remote host can cause these, from any number of addresses.
const MAX_WITHOUT_PROCESS: usize = 4_096;
/// Maximum number of such sums; what is beyond is summed up by side alone.
const MAX_RESTS: usize = 1_024;

/// The namespace, and how many earlier ones had its number.
type Key = (u32, u32, Side, Destination, ProcessKey);

/// Figures by process and destination, from events: lower bounds if events were lost.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    rows: CompactMap<Key, PackedPair>,
    /// Number of rows without a process.
    without_process: usize,
    /// The process that acted last: in most cases also the next one.
    last: Option<Arc<Process>>,
    /// RSTs whose other end may be on this host too.
    both_ends: BothEnds,
    /// Connections that RSTs have just ended.
    just_reset: JustReset,
    /// Processes whose clients left.
    left: LeftByClients,
    /// Destinations that refused connections.
    outages: Outages,
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
    /// Counts an event of [`counts`].
    fn apply(&mut self, event: &Event) {
        match &event.facts {
            EventFacts::TimeWait(closed) => {
                self.time_wait += 1;
                // A process for each connection has one alone, which is no moment: these rows are many.
                if event.side == Side::Server && (self.time_wait > 1 || self.more.is_some()) {
                    self.more.get_or_insert_default().closings.add(event);
                }
                if is_counted(event.side, closed) {
                    let more = self.more.get_or_insert_default();
                    more.unanswered.add(event, closed);
                }
                if self.time_wait > COUNTED_FROM {
                    self.more.get_or_insert_default().lives.add(closed);
                }
            }
            EventFacts::Reset(facts) => {
                let more = self.more.get_or_insert_default();
                more.patterns.add(event, facts);
                if facts.direction == ResetDirection::Sent {
                    more.closings.add(event);
                }
                let deaths = &mut more.deaths;
                match facts.direction {
                    ResetDirection::Sent => deaths.reset_sent.add(facts.reason),
                    ResetDirection::Received => deaths.reset_received.add(facts.reason),
                }
            }
            EventFacts::Abort(facts) => {
                let more = self.more.get_or_insert_default();
                more.deaths.abort.add(facts.reason);
                if facts.state == Some(TcpState::SynSent) {
                    more.unconnected.add(event, facts);
                }
            }
            EventFacts::PortAlloc(facts) => {
                let more = self.more.get_or_insert_default();
                more.reuse.add(event);
                match failed_call(facts) {
                    Some(PortOp::Connect) => more.connect_failures += 1,
                    Some(PortOp::Bind) => more.bind_failures += 1,
                    _ => {}
                }
            }
            EventFacts::TimeWaitEnd(_) | EventFacts::NoAddress(_) => {}
        }
    }

    fn add(&mut self, counts: &PairCounts) {
        self.time_wait += counts.time_wait;
        let has_more = counts.events() > counts.time_wait
            || !counts.lives.is_nothing()
            || !counts.closings.is_nothing()
            || !counts.unanswered.is_nothing();
        if has_more || !counts.reuse.is_empty() {
            let more = self.more.get_or_insert_default();
            more.add(counts);
            more.time_wait = 0;
        }
    }

    fn whole(&self) -> PairCounts {
        PairCounts {
            time_wait: self.time_wait,
            ..self.more.as_deref().cloned().unwrap_or_default()
        }
    }
}

/// The call that failed to get any local port.
fn failed_call(facts: &PortAlloc) -> Option<PortOp> {
    const NO_PORT_TO_CONNECT: u16 = libc::EADDRNOTAVAIL as u16;
    const NO_PORT_TO_BIND: u16 = libc::EADDRINUSE as u16;
    let PortResult::Failed(errno) = facts.result else {
        return None;
    };
    match (facts.op, errno.0) {
        _ if facts.requested != 0 => None,
        (PortOp::Connect, NO_PORT_TO_CONNECT) | (PortOp::Bind, NO_PORT_TO_BIND) => Some(facts.op),
        _ => None,
    }
}

/// Whether an event counts for a pair.
fn counts(event: &Event) -> bool {
    match &event.facts {
        EventFacts::TimeWait(_) => event.event == EventKind::TimeWait,
        EventFacts::Reset(_) | EventFacts::Abort(_) => true,
        EventFacts::PortAlloc(facts) => {
            let mut reuse = Reuse::default();
            reuse.add(event);
            !reuse.is_empty() || failed_call(facts).is_some()
        }
        EventFacts::TimeWaitEnd(_) | EventFacts::NoAddress(_) => false,
    }
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
    /// The process at its last event.
    pub process: Option<Arc<Process>>,
    /// The figures.
    pub counts: PairCounts,
}

impl Pairs {
    /// Counts an event.
    pub fn apply(&mut self, event: &Event) {
        let Some(netns) = event.netns.filter(|_| counts(event)) else {
            return;
        };
        let key = (
            netns,
            event.netns_nth,
            event.side,
            Destination::of(event.side, event),
            event.answerable().key(),
        );
        self.outages.note((key.0, key.1, key.3), event);
        let process = event.process.as_ref().map(|process| self.shared(process));
        let (row, is_own) = self.row(key, 1);
        row.apply(event);
        if !is_own {
            return;
        }
        row.process.clone_from(&process);
        if let EventFacts::Reset(reset) = &event.facts
            && let Some(number) = self.rows.number(&key)
        {
            if let Some(passed) = self.left.passes_on(event, reset) {
                let more = self.rows.value_mut(number).more.get_or_insert_default();
                more.patterns.pass_on(reset.reason, passed);
            }
            if self.just_reset.echoes(event, reset) {
                let more = self.rows.value_mut(number).more.get_or_insert_default();
                more.patterns.echo(reset.reason);
            }
            self.meet(event, reset, number, process);
        }
    }

    /// Notes who is at the other end of a RST, at both ends, if both are on this host.
    fn meet(&mut self, event: &Event, reset: &Reset, row: usize, process: Option<Arc<Process>>) {
        let Some((one, other)) = self.both_ends.meet(event, reset, row, process) else {
            return;
        };
        for (here, there) in [(&one, &other), (&other, &one)] {
            let more = self.rows.value_mut(here.row).more.get_or_insert_default();
            let (direction, reason) = here.reset;
            more.patterns
                .met((direction, reason), &here.end, there.end.clone());
        }
    }

    /// The row of a key, and true; if there is no room for it, the row of what has none, and false: `events` are then counted
    /// as left out.
    fn row(&mut self, key: Key, events: u64) -> (&mut PackedPair, bool) {
        let is_nobodys = key.4.tgid == 0;
        let is_full = is_nobodys
            && self.without_process >= MAX_WITHOUT_PROCESS
            && self.rows.number(&key).is_none();
        let max = if is_full { 0 } else { MAX_PAIRS };
        let before = self.rows.len();
        let number = self.rows.within(key, max, PackedPair::default);
        if let Some((number, _)) = number {
            self.without_process += usize::from(is_nobodys && self.rows.len() > before);
            return (self.rows.value_mut(number), true);
        }
        self.left_out += events;
        let (netns, netns_nth, side, ..) = key;
        let nobody = without_process(Unattributed::Lost);
        let rest = (netns, netns_nth, side, Destination::Others, nobody);
        let max = MAX_PAIRS + MAX_RESTS;
        let number = self.rows.within(rest, max, PackedPair::default);
        let row = match number.map(|(number, _)| number) {
            Some(number) => self.rows.value_mut(number),
            // There are no more than three of these.
            None => {
                let all = (0, 0, side, Destination::Others, nobody);
                self.rows.of(all, PackedPair::default)
            }
        };
        (row, false)
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
        let (row, is_own) = self.row(key, sums.counts.events());
        row.add(&sums.counts);
        if is_own {
            row.process = sums.process;
        }
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
                |((netns, netns_nth, side, destination, key), pair)| PairSums {
                    netns: *netns,
                    netns_nth: *netns_nth,
                    side: *side,
                    destination: *destination,
                    key: *key,
                    process: pair.process.clone(),
                    counts: pair.whole(),
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
            (std::cmp::Reverse(row.counts.events()), place)
        });
        sums
    }

    /// The rows, those with the most TIME_WAITs first, then those with the most RSTs.
    pub fn rows(&self) -> Vec<PairRow> {
        let mut rows: Vec<PairRow> = self
            .rows
            .iter()
            .map(
                |((netns, netns_nth, side, destination, key), pair)| PairRow {
                    netns: *netns,
                    netns_nth: *netns_nth,
                    side: *side,
                    destination: *destination,
                    process: pair.process.clone(),
                    unattributed: unattributed(*key),
                    counts: PairCounts {
                        outage: self.outages.of((*netns, *netns_nth, *destination)),
                        ..pair.whole()
                    },
                },
            )
            .collect();
        rows.sort_by_cached_key(|row| {
            let figures = (
                row.counts.time_wait,
                row.counts.resets(),
                row.counts.connect_failures + row.counts.bind_failures,
            );
            let place = (
                (row.netns, row.netns_nth),
                row.side as u32,
                row.destination,
                row.answerable().key(),
            );
            (std::cmp::Reverse(figures), place)
        });
        rows
    }

    /// Number of events that found no room for their process and destination.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
