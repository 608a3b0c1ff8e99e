//! Proxies that pass on the end of their client: a RST received as a server, then a connection closed as a client.

use std::collections::HashMap;

use twtrace_wire::{ProcessKey, ResetDirection, Side};

use super::closed_ns;
use crate::event::{Event, Reset};

/// A proxy that closes this soon after its client has left does so for that reason, nanoseconds.
const SOON_NS: u64 = 50_000_000;
/// Maximum number of processes that are remembered.
const MAX_PROCESSES: usize = 1_024;
/// Maximum number of clients that are remembered for each process: the latest.
const MAX_CLIENTS: usize = 64;

/// When clients of each process reset their connections, CLOCK_MONOTONIC in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct LeftByClients(HashMap<ProcessKey, Vec<u64>>);

impl LeftByClients {
    /// Notes a RST that a server received. Whether a RST of a client is the consequence of one: each has one at most.
    pub fn passes_on(&mut self, event: &Event, reset: &Reset) -> bool {
        let Some(process) = &event.process else {
            return false;
        };
        match (event.side, reset.direction) {
            (Side::Server, ResetDirection::Received) => {
                self.note(process.key, event.mono_ns);
                false
            }
            (Side::Client, ResetDirection::Sent) => {
                let closed_ns = closed_ns(event, reset);
                let Some(left) = self.0.get_mut(&process.key) else {
                    return false;
                };
                let is_cause = |left_ns: &u64| (*left_ns..=*left_ns + SOON_NS).contains(&closed_ns);
                let cause = left.iter().position(is_cause);
                cause.is_some_and(|place| {
                    left.remove(place);
                    true
                })
            }
            _ => false,
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
        left.push(at_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventFacts, samples};

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
        left.passes_on(&event, &reset)
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
