//! Connections that this host has just ended by a RST: what was on its way then is answered by further ones.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use twtrace_wire::{ResetDirection, ResetReason};

use crate::event::{Event, Reset};

/// Maximum number of connections that are remembered: the latest.
const MAX_CONNECTIONS: usize = 4_096;
/// What was on its way comes within this time, nanoseconds.
const WITHIN_NS: u64 = 2_000_000_000;

/// A connection, in its namespace: this end and the other one.
type Key = (Option<u32>, SocketAddr, SocketAddr);

/// When each was ended, CLOCK_MONOTONIC in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct JustReset {
    ended: HashMap<Key, u64>,
    order: VecDeque<(Key, u64)>,
}

impl JustReset {
    /// Notes a RST that was sent. Whether it is the echo of an earlier one.
    pub fn echoes(&mut self, event: &Event, reset: &Reset) -> bool {
        let (Some((local, remote)), ResetDirection::Sent) =
            (event.local.zip(event.remote), reset.direction)
        else {
            return false;
        };
        let key = (event.netns, local, remote);
        match reset.reason {
            ResetReason::Other | ResetReason::NoSocket => self
                .ended
                .get(&key)
                .is_some_and(|at_ns| event.mono_ns.abs_diff(*at_ns) <= WITHIN_NS),
            _ => {
                self.note(key, event.mono_ns);
                false
            }
        }
    }

    fn note(&mut self, key: Key, at_ns: u64) {
        self.ended.insert(key, at_ns);
        self.order.push_back((key, at_ns));
        while self.order.len() > MAX_CONNECTIONS {
            if let Some((key, at_ns)) = self.order.pop_front()
                && self.ended.get(&key) == Some(&at_ns)
            {
                self.ended.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventFacts, samples};

    fn echoes(all: &mut JustReset, reason: ResetReason, port: u16, at_ns: u64) -> bool {
        let mut event = samples::reset();
        event.local = Some(SocketAddr::from(([10, 0, 0, 1], 80)));
        event.remote = Some(SocketAddr::from(([10, 0, 0, 2], port)));
        event.mono_ns = at_ns;
        let EventFacts::Reset(mut reset) = event.facts.clone() else {
            panic!("a RST");
        };
        reset.direction = ResetDirection::Sent;
        reset.reason = reason;
        all.echoes(&event, &reset)
    }

    #[test]
    fn what_comes_after_a_reset_is_its_echo() {
        use ResetReason::{NoSocket, Other, UnreadData};
        let mut all = JustReset::default();
        assert!(!echoes(&mut all, NoSocket, 1, 1));
        assert!(!echoes(&mut all, UnreadData, 1, 2));
        assert!(echoes(&mut all, NoSocket, 1, 3));
        assert!(echoes(&mut all, Other, 1, 4));
        assert!(!echoes(&mut all, Other, 2, 5), "another connection");
        assert!(!echoes(&mut all, Other, 1, 3 * WITHIN_NS), "too late");
    }

    #[test]
    fn memory_is_bounded() {
        let mut all = JustReset::default();
        for number in 0..3 * MAX_CONNECTIONS as u64 {
            let port = (number % 60_000) as u16;
            echoes(&mut all, ResetReason::UnreadData, port, number);
        }
        assert!(all.ended.len() <= MAX_CONNECTIONS && all.order.len() <= MAX_CONNECTIONS);
    }
}
