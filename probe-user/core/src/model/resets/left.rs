//! Proxies that pass on the end of their client: a RST received as a server, then a connection closed as a client.

use std::collections::HashMap;

use twtrace_wire::{ProcessKey, ResetDirection, Side};

use super::{closed_ns, is_received_open};
use crate::event::{Event, Reset};

/// A proxy that closes this soon after its client has left does so for that reason, nanoseconds.
const SOON_NS: u64 = 50_000_000;
/// How long before that clients are counted that left: the more, the more often one did so just before by chance.
const BEFORE_NS: u64 = 1_000_000_000;
/// Maximum number of processes that are remembered.
const MAX_PROCESSES: usize = 1_024;
/// Maximum number of clients that are remembered for each process: the latest.
const MAX_CLIENTS: usize = 64;

/// A connection that was closed just after a client of the same process had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassedOn {
    /// How probable that is by chance, in thousandths, from the number of clients that left before: an upper bound.
    pub by_chance: u64,
}

/// A client that left.
#[derive(Clone, Copy, Debug)]
struct Left {
    at_ns: u64,
    /// Whether a connection was closed just after.
    is_passed_on: bool,
}

/// When clients of each process reset their connections, CLOCK_MONOTONIC in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct LeftByClients(HashMap<ProcessKey, Vec<Left>>);

impl LeftByClients {
    /// Notes a RST that a server received before it had closed. Whether a RST of a client is the consequence of one: each
    /// has one at most.
    pub fn passes_on(&mut self, event: &Event, reset: &Reset) -> Option<PassedOn> {
        let process = event.process.as_ref()?;
        match (event.side, reset.direction) {
            (Side::Server, ResetDirection::Received) if is_received_open(reset) => {
                self.note(process.key, event.mono_ns);
                None
            }
            (Side::Client, ResetDirection::Sent) => {
                let closed_ns = closed_ns(event, reset);
                let left = self.0.get_mut(&process.key)?;
                let begin_ns = closed_ns.saturating_sub(SOON_NS);
                let mut causes = left.iter_mut();
                let cause = causes
                    .find(|it| !it.is_passed_on && (begin_ns..=closed_ns).contains(&it.at_ns))?;
                cause.is_passed_on = true;
                Some(PassedOn {
                    by_chance: by_chance(left, begin_ns),
                })
            }
            _ => None,
        }
    }

    fn note(&mut self, key: ProcessKey, at_ns: u64) {
        if self.0.len() >= MAX_PROCESSES && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let left = self.0.entry(key).or_default();
        if left.len() >= MAX_CLIENTS {
            left.remove(0);
        }
        left.push(Left {
            at_ns,
            is_passed_on: false,
        });
    }
}

/// How probable it is that any client left within [`SOON_NS`] from `begin_ns` on, in thousandths, from those that left before.
fn by_chance(left: &[Left], begin_ns: u64) -> u64 {
    let since_ns = begin_ns.saturating_sub(BEFORE_NS);
    let is_full = left.len() >= MAX_CLIENTS;
    if is_full && left.first().is_some_and(|it| it.at_ns > since_ns) {
        return 1_000;
    }
    let first_ns = left.first().map_or(begin_ns, |it| it.at_ns);
    let span_ns = begin_ns.saturating_sub(first_ns);
    let span_ns = span_ns.clamp(SOON_NS, BEFORE_NS);
    let within = left.iter();
    let within = within.filter(|it| (since_ns..begin_ns).contains(&it.at_ns));
    (within.count() as u64 * SOON_NS * 1_000 / span_ns).min(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventFacts, samples};
    use twtrace_wire::TcpState;

    fn passes(left: &mut LeftByClients, side: Side, at_ms: u64, after_ms: u64) -> bool {
        let mut event = samples::reset();
        event.side = side;
        event.mono_ns = at_ms * 1_000_000;
        let EventFacts::Reset(mut reset) = event.facts.clone() else {
            panic!("a RST");
        };
        reset.after_close_ns = Some(after_ms * 1_000_000);
        reset.direction = match side {
            Side::Server => ResetDirection::Received,
            _ => ResetDirection::Sent,
        };
        reset.state = Some(TcpState::Established);
        left.passes_on(&event, &reset).is_some()
    }

    #[test]
    fn many_that_leave_prove_nothing() {
        let mut left = LeftByClients::default();
        let event = |side, at_ms: u64| {
            let mut event = samples::reset();
            event.side = side;
            event.mono_ns = at_ms * 1_000_000;
            let EventFacts::Reset(mut reset) = event.facts.clone() else {
                panic!("a RST");
            };
            reset.after_close_ns = Some(0);
            reset.state = Some(TcpState::Established);
            reset.direction = match side {
                Side::Server => ResetDirection::Received,
                _ => ResetDirection::Sent,
            };
            (event, reset)
        };
        let mut passes = |side, at_ms| {
            let (event, reset) = event(side, at_ms);
            left.passes_on(&event, &reset).map(|it| it.by_chance)
        };
        passes(Side::Server, 1_000);
        assert_eq!(passes(Side::Client, 1_001), Some(0));
        // Ten in the second before.
        for number in 0..11 {
            passes(Side::Server, 5_000 + number * 80);
        }
        assert_eq!(passes(Side::Client, 5_801), Some(500));
        for number in 0..200 {
            passes(Side::Server, 9_000 + number);
        }
        assert_eq!(passes(Side::Client, 9_200), Some(1_000));
    }

    #[test]
    fn a_client_that_closes_too_has_not_left_its_proxy() {
        let mut left = LeftByClients::default();
        let mut event = samples::reset();
        event.side = Side::Server;
        event.mono_ns = 1_000_000_000;
        let EventFacts::Reset(mut reset) = event.facts.clone() else {
            panic!("a RST");
        };
        reset.direction = ResetDirection::Received;
        reset.state = Some(TcpState::FinWait2);
        assert!(left.passes_on(&event, &reset).is_none());
        assert!(!passes(&mut left, Side::Client, 1_001, 0));
    }

    #[test]
    fn what_follows_a_clients_end_is_passed_on() {
        let mut left = LeftByClients::default();
        assert!(!passes(&mut left, Side::Client, 10, 0));
        assert!(!passes(&mut left, Side::Server, 1_000, 0));
        // The close counts, not the data that came later.
        assert!(passes(&mut left, Side::Client, 4_000, 2_999));
        assert!(!passes(&mut left, Side::Client, 1_001, 0));
        passes(&mut left, Side::Server, 5_000, 0);
        assert!(!passes(&mut left, Side::Client, 5_200, 0));
        assert!(!passes(&mut left, Side::Client, 5_200, 300));
    }

    #[test]
    fn memory_is_bounded() {
        let mut left = LeftByClients::default();
        for number in 0..10 * MAX_CLIENTS as u64 {
            passes(&mut left, Side::Server, number, 0);
        }
        assert!(left.0.values().all(|times| times.len() <= MAX_CLIENTS));
    }
}
