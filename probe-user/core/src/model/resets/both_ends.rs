//! Finds both ends of a RST on this host: one end reports it as sent, the other as received.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use twtrace_wire::ResetDirection;

use super::{OtherEnd, is_of_listener, is_received_established, is_received_open};
use crate::event::{Event, Process, Reset};

/// Maximum number of RSTs that wait for their other end.
const MAX_WAITING: usize = 4_096;
/// Both are reported within this time, nanoseconds: some events are held for a second.
const WITHIN_NS: u64 = 2_000_000_000;

/// The connection seen by the end that sent. A loopback connection stays in its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    netns: Option<u32>,
    direction: ResetDirection,
    sender: SocketAddr,
    receiver: SocketAddr,
}

/// One end of a RST.
#[derive(Clone, Debug)]
pub struct End {
    /// Number of its row.
    pub row: usize,
    /// Sent or received.
    pub reset: (ResetDirection, twtrace_wire::ResetReason),
    /// As the other end sees it.
    pub end: OtherEnd,
    mono_ns: u64,
}

/// RSTs whose other end was not seen yet.
#[derive(Clone, Debug, Default)]
pub struct BothEnds {
    waiting: HashMap<Key, End>,
    order: VecDeque<(Key, u64)>,
}

impl BothEnds {
    /// Takes a RST that counts for a row. Returns both ends if the other one was seen before.
    pub fn meet(
        &mut self,
        event: &Event,
        reset: &Reset,
        row: usize,
        process: Option<Arc<Process>>,
    ) -> Option<(End, End)> {
        let (local, remote) = event.local.zip(event.remote)?;
        let (sender, receiver) = match reset.direction {
            ResetDirection::Sent => (local, remote),
            ResetDirection::Received => (remote, local),
        };
        let key = Key {
            netns: event
                .netns
                .filter(|_| sender.ip().to_canonical().is_loopback()),
            direction: reset.direction,
            sender,
            receiver,
        };
        let this = End {
            row,
            reset: (reset.direction, reset.reason),
            end: OtherEnd {
                process,
                unattributed: event.unattributed,
                side: event.side,
                reason: reset.reason,
                is_listener: is_of_listener(reset),
                is_open: is_received_open(reset),
                is_established: is_received_established(reset),
                count: 1,
            },
            mono_ns: event.mono_ns,
        };
        let other_key = Key {
            direction: match reset.direction {
                ResetDirection::Sent => ResetDirection::Received,
                ResetDirection::Received => ResetDirection::Sent,
            },
            ..key
        };
        if let Some(other) = self.waiting.remove(&other_key)
            && other.mono_ns.abs_diff(event.mono_ns) <= WITHIN_NS
        {
            return Some((this, other));
        }
        self.wait(key, this);
        None
    }

    fn wait(&mut self, key: Key, end: End) {
        self.order.push_back((key, end.mono_ns));
        self.waiting.insert(key, end);
        while self.order.len() > MAX_WAITING {
            if let Some((key, mono_ns)) = self.order.pop_front()
                && self
                    .waiting
                    .get(&key)
                    .is_some_and(|end| end.mono_ns == mono_ns)
            {
                self.waiting.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventFacts;
    use crate::event::samples;
    use twtrace_wire::ResetReason;

    fn reset(direction: ResetDirection, local: &str, remote: &str, mono_ns: u64) -> Event {
        let mut event = samples::reset();
        event.local = Some(local.parse().unwrap());
        event.remote = Some(remote.parse().unwrap());
        event.mono_ns = mono_ns;
        if let EventFacts::Reset(facts) = &mut event.facts {
            facts.direction = direction;
            facts.reason = ResetReason::UnreadData;
        }
        event
    }

    fn meet(ends: &mut BothEnds, event: &Event, row: usize) -> Option<(End, End)> {
        let EventFacts::Reset(facts) = &event.facts else {
            panic!("a RST");
        };
        ends.meet(event, facts, row, None)
    }

    #[test]
    fn the_ends_of_one_connection_find_each_other() {
        use ResetDirection::{Received, Sent};
        let mut ends = BothEnds::default();
        let (server, client) = ("127.0.0.1:80", "127.0.0.1:40000");
        assert!(meet(&mut ends, &reset(Received, client, server, 1), 3).is_none());
        // Another connection, and the same end again.
        assert!(meet(&mut ends, &reset(Sent, server, "127.0.0.1:40001", 2), 4).is_none());
        let (this, other) = meet(&mut ends, &reset(Sent, server, client, 3), 4).unwrap();
        assert_eq!((this.row, other.row), (4, 3));
        assert!(meet(&mut ends, &reset(Sent, server, client, 4), 4).is_none());
        // Too late.
        let late = reset(Received, client, server, 5_000_000_000);
        assert!(meet(&mut ends, &late, 3).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let mut ends = BothEnds::default();
        for number in 0..3 * MAX_WAITING as u64 {
            let remote = format!("10.0.{}.{}:9", number / 250 % 250, number % 250);
            let event = reset(ResetDirection::Sent, "10.1.0.1:80", &remote, number);
            meet(&mut ends, &event, 0);
        }
        assert!(ends.waiting.len() <= MAX_WAITING && ends.order.len() <= MAX_WAITING);
    }
}
