//! Ends of TIME_WAITs if no hook sees them: each is presumed to live for one minute, and dumps of the kernel's sockets
//! correct that now and then.
//!
//! An early end between two dumps is reported as an expiry when its minute is over; an entry missing from a dump is
//! reported as ended at once, with the cause derived from what has replaced it. All of it is marked `inferred`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;

use twtrace_wire::{EndCause, EventKind, PortOp, ResetDirection, ResetReason, Side, TcpState};

use super::budget::sysctls::TIME_WAIT_NS;
use crate::event::timestamp::Clocks;
use crate::event::{Event, EventFacts, PortResult, Process, TimeWaitEnd};
use crate::model::socket::SocketRow;

/// The kernel runs timers late, by an eighth of their time at most (kernel/time/timer.c): a TIME_WAIT that is due
/// within this is taken to have ended.
const LATE_NS: u64 = TIME_WAIT_NS / 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ConnectionKey {
    netns: u32,
    netns_nth: u32,
    local: SocketAddr,
    remote: SocketAddr,
}

/// A TIME_WAIT that is presumed to live.
#[derive(Debug)]
struct Entry {
    /// The event of its creation.
    birth: Event,
    /// When it will end, nanoseconds of CLOCK_MONOTONIC.
    ends_ns: u64,
    /// A dump has shown that it waits for the peer's FIN, which restarts its minute: only a dump can show its end.
    is_held: bool,
    /// A dump has shown when it will end.
    is_confirmed: bool,
}

impl Entry {
    /// When its end was due, if it has ended.
    fn due_ns(&self, fin_timeout_ns: Option<u64>) -> u64 {
        let began_in_fin_wait2 = matches!(
            &self.birth.facts,
            EventFacts::TimeWait(facts) if facts.state == Some(TcpState::FinWait2)
        );
        match fin_timeout_ns {
            // No dump has shown it: the peer's FIN may not have arrived.
            Some(timeout_ns) if began_in_fin_wait2 && !self.is_confirmed => self
                .ends_ns
                .min(self.birth.mono_ns.saturating_add(timeout_ns)),
            _ => self.ends_ns,
        }
    }
}

/// How and when one ended.
struct End<'a> {
    cause: EndCause,
    /// The time of its end; otherwise the time when it was noticed.
    at_ns: Result<u64, u64>,
    by: Option<&'a Process>,
}

impl End<'_> {
    fn at(cause: EndCause, at_ns: u64) -> Self {
        Self {
            cause,
            at_ns: Ok(at_ns),
            by: None,
        }
    }

    fn before(cause: EndCause, found_ns: u64) -> Self {
        Self {
            cause,
            at_ns: Err(found_ns),
            by: None,
        }
    }
}

/// A dump of one namespace.
#[derive(Clone, Copy, Debug)]
pub struct SocketDump<'a> {
    /// Its sockets.
    pub sockets: &'a [SocketRow],
    /// How long a TIME_WAIT lives there, nanoseconds.
    pub time_wait_ns: u64,
    /// `tcp_fin_timeout`, nanoseconds: how long a mini-socket waits for the peer's FIN.
    pub fin_timeout_ns: Option<u64>,
    /// CLOCK_MONOTONIC before the dump, nanoseconds.
    pub asked_ns: u64,
}

/// All TIME_WAITs that are presumed to live.
#[derive(Debug)]
pub struct InferredEnds {
    max_entries: usize,
    entries: HashMap<ConnectionKey, Entry>,
    /// How long TIME_WAITs live, nanoseconds, in namespaces where it is not the default.
    lengths: HashMap<u32, u64>,
    /// Ends, the next first. One that differs from its entry is void.
    due: BinaryHeap<Reverse<(u64, ConnectionKey)>>,
    /// TIME_WAITs for which there was no room: their ends are not reported.
    pub without_room: u64,
}

impl InferredEnds {
    /// Initially empty, with room for `max_entries`.
    pub fn new(max_entries: usize) -> Self {
        Self {
            max_entries,
            entries: HashMap::new(),
            lengths: HashMap::new(),
            due: BinaryHeap::new(),
            without_room: 0,
        }
    }

    /// Processes an event. Returns the end that it implies, which happened before it.
    pub fn note(&mut self, event: &Event, clocks: Clocks) -> Option<Event> {
        let key = ConnectionKey {
            netns: event.netns?,
            netns_nth: event.netns_nth,
            local: event.local?,
            remote: event.remote?,
        };
        let end = self.shown_by(event, key, clocks);
        if event.event == EventKind::TimeWait {
            self.begin(event, key);
        }
        end
    }

    fn begin(&mut self, event: &Event, key: ConnectionKey) {
        if self.entries.len() >= self.max_entries {
            self.without_room += 1;
            return;
        }
        let length_ns = self.lengths.get(&key.netns);
        let ends_ns = event
            .mono_ns
            .saturating_add(*length_ns.unwrap_or(&TIME_WAIT_NS));
        let entry = Entry {
            birth: event.clone(),
            ends_ns,
            is_held: false,
            is_confirmed: false,
        };
        self.entries.insert(key, entry);
        self.due.push(Reverse((ends_ns, key)));
    }

    /// An end that another connection of the tuple, or a mini-socket that answers data and ends, implies.
    fn shown_by(&mut self, event: &Event, key: ConnectionKey, clocks: Clocks) -> Option<Event> {
        let born_ns = self.entries.get(&key)?.birth.mono_ns;
        if let EventFacts::PortAlloc(facts) = &event.facts {
            let found = facts.op == PortOp::Connect && facts.result == PortResult::Ok;
            if !found || event.mono_ns <= born_ns {
                return None;
            }
            let end = End {
                by: event.process.as_ref(),
                ..End::at(EndCause::ReusedByConnect, event.mono_ns)
            };
            return self.end(key, end, clocks);
        }
        let flow = event.facts.flow()?;
        let is_answer = matches!(&event.facts, EventFacts::Reset(facts)
            if facts.direction == ResetDirection::Sent
                && facts.reason == ResetReason::DataAfterClose);
        let established_ns = flow
            .connection_ns
            .map(|connection_ns| event.mono_ns.saturating_sub(connection_ns));
        match established_ns {
            Some(at_ns) if at_ns >= born_ns => {
                let end = End {
                    by: event.opener.as_ref().filter(|_| event.side == Side::Client),
                    ..End::at(taken_over(event.side), at_ns)
                };
                self.end(key, end, clocks)
            }
            // A second birth, of a connection whose start was not seen.
            None if event.event == EventKind::TimeWait => {
                let end = End::before(taken_over(event.side), event.mono_ns);
                self.end(key, end, clocks)
            }
            // Nothing else is known of a mini-socket that answers.
            None if is_answer => self.end(key, End::at(EndCause::Killed, event.mono_ns), clocks),
            _ => None,
        }
    }

    /// Ends of those whose time is over.
    pub fn expired(&mut self, now_ns: u64, clocks: Clocks) -> Vec<Event> {
        let mut ends = Vec::new();
        while let Some(Reverse((ends_ns, key))) = self.due.peek().copied() {
            if ends_ns > now_ns {
                break;
            }
            self.due.pop();
            let is_valid = |entry: &&Entry| entry.ends_ns == ends_ns && !entry.is_held;
            if self.entries.get(&key).filter(is_valid).is_some() {
                ends.extend(self.end(key, End::at(EndCause::Expired, ends_ns), clocks));
            }
        }
        ends
    }

    /// Namespaces with TIME_WAITs that are presumed to live.
    pub fn namespaces(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.entries.keys().map(|key| key.netns).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The namespace no longer exists, and nothing in it.
    pub fn purge(&mut self, netns: u32, now_ns: u64, clocks: Clocks) -> Vec<Event> {
        self.lengths.remove(&netns);
        let gone = self.keys_of(netns, now_ns);
        gone.into_iter()
            .filter_map(|key| self.end(key, End::before(EndCause::Purged, now_ns), clocks))
            .collect()
    }

    /// Corrects the presumptions about a namespace from a dump. Returns the ends that it shows.
    pub fn correct(&mut self, netns: u32, dump: SocketDump<'_>, clocks: Clocks) -> Vec<Event> {
        let asked_ns = dump.asked_ns;
        self.learn_length(netns, dump.time_wait_ns);
        let by_ends: HashMap<(SocketAddr, SocketAddr), &SocketRow> = dump
            .sockets
            .iter()
            .map(|row| ((row.local, row.remote), row))
            .collect();
        let mut ends = Vec::new();
        for key in self.keys_of(netns, asked_ns) {
            match by_ends.get(&(key.local, key.remote)) {
                Some(row) if row.is_mini() => self.confirm(key, row, asked_ns),
                Some(row) => {
                    let cause = match row.state {
                        // The old full socket of one that was reported early: nothing is known yet.
                        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing => continue,
                        _ => taken_over(self.entries[&key].birth.side),
                    };
                    ends.extend(self.end(key, End::before(cause, asked_ns), clocks));
                }
                None => {
                    let due_ns = self.entries[&key].due_ns(dump.fin_timeout_ns);
                    let end = if due_ns <= asked_ns.saturating_add(LATE_NS) {
                        End::at(EndCause::Expired, due_ns.min(asked_ns))
                    } else {
                        End::before(EndCause::Killed, asked_ns)
                    };
                    ends.extend(self.end(key, end, clocks));
                }
            }
        }
        ends
    }

    /// Sets how long the TIME_WAITs that no dump has shown yet are presumed to live.
    fn learn_length(&mut self, netns: u32, time_wait_ns: u64) {
        let before_ns = match time_wait_ns {
            TIME_WAIT_NS => self.lengths.remove(&netns),
            _ => self.lengths.insert(netns, time_wait_ns),
        };
        if before_ns.unwrap_or(TIME_WAIT_NS) == time_wait_ns {
            return;
        }
        let of_netns = self.entries.iter_mut();
        for (key, entry) in of_netns.filter(|(key, _)| key.netns == netns) {
            if !entry.is_confirmed {
                entry.ends_ns = entry.birth.mono_ns.saturating_add(time_wait_ns);
                self.due.push(Reverse((entry.ends_ns, *key)));
            }
        }
    }

    /// Those that a dump at this time should have shown.
    fn keys_of(&self, netns: u32, asked_ns: u64) -> Vec<ConnectionKey> {
        let mut keys: Vec<ConnectionKey> = self
            .entries
            .iter()
            .filter(|(key, entry)| key.netns == netns && entry.birth.mono_ns < asked_ns)
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable_by_key(|key| self.entries[key].birth.mono_ns);
        keys
    }

    fn confirm(&mut self, key: ConnectionKey, row: &SocketRow, asked_ns: u64) {
        let (Some(entry), Some(left)) = (self.entries.get_mut(&key), row.expires) else {
            return;
        };
        let left_ns = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        entry.ends_ns = asked_ns.saturating_add(left_ns);
        entry.is_confirmed = true;
        entry.is_held = row.state == TcpState::FinWait2;
        self.due.push(Reverse((entry.ends_ns, key)));
    }

    /// Removes one and returns its end.
    fn end(&mut self, key: ConnectionKey, end: End<'_>, clocks: Clocks) -> Option<Event> {
        let Entry { mut birth, .. } = self.entries.remove(&key)?;
        let born_ns = birth.mono_ns;
        let (Ok(reported_ns) | Err(reported_ns)) = end.at_ns;
        birth.mono_ns = reported_ns;
        birth.ts = clocks.of_monotonic(reported_ns);
        birth.event = EventKind::TimeWaitEnd;
        birth.facts = EventFacts::TimeWaitEnd(TimeWaitEnd {
            cause: end.cause,
            age_ns: end.at_ns.ok().map(|at_ns| at_ns.saturating_sub(born_ns)),
            promoted_ns: None,
            by: end.by.cloned(),
            inferred: true,
        });
        Some(birth)
    }
}

/// What another connection of the same tuple means for a TIME_WAIT.
fn taken_over(side: Side) -> EndCause {
    match side {
        Side::Server => EndCause::ReopenedBySyn,
        Side::Client | Side::Unknown => EndCause::ReusedByConnect,
    }
}

#[cfg(test)]
#[path = "inferred_ends_tests.rs"]
mod tests;
