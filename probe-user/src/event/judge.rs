//! Resets that can only be judged a moment later.
//!
//! Where data arrives after close, the kernel first runs through the code that handles a received RST, then
//! sends one itself. The kernel side marks the first as replaceable and the second as its replacement, and
//! has set its own totals right by then; here the first is dropped from the stream of events.

use std::collections::VecDeque;

use twtrace_wire::{EventKind, ResetDirection};

use super::decode::Decoded;
use super::{Event, Facts};

/// How long a replacement is waited for, nanoseconds of the events' own time.
pub const HOLD_NS: u64 = 50_000_000;

/// Holds replaceable resets back, and all that came after them, so that order is kept.
#[derive(Debug, Default)]
pub struct Judge {
    held: VecDeque<Decoded>,
}

impl Judge {
    /// Takes the next event, in the order of the ring buffer.
    pub fn push(&mut self, decoded: Decoded) {
        if decoded.replaces {
            let replaced = self.held.iter().rposition(|held| {
                held.may_be_replaced
                    && held.socket == decoded.socket
                    && is_received_reset(&held.event)
            });
            if let Some(index) = replaced {
                self.held.remove(index);
            }
        }
        self.held.push_back(decoded);
    }

    /// Lets go, oldest first, what no replacement can reach any more, given that every record before
    /// `seen_until_mono_ns` was pushed.
    pub fn release(&mut self, seen_until_mono_ns: u64) -> impl Iterator<Item = Event> {
        let blocked_by = |held: &Decoded| {
            held.may_be_replaced && held.event.mono_ns.saturating_add(HOLD_NS) > seen_until_mono_ns
        };
        let free = self
            .held
            .iter()
            .position(blocked_by)
            .unwrap_or(self.held.len());
        self.held.drain(..free).map(|decoded| decoded.event)
    }

    /// Time of the latest event that is held.
    pub fn latest_mono_ns(&self) -> Option<u64> {
        self.held.back().map(|held| held.event.mono_ns)
    }
}

fn is_received_reset(event: &Event) -> bool {
    event.event == EventKind::Reset
        && matches!(&event.facts, Facts::Reset(reset) if reset.direction == ResetDirection::Received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    fn reset(mono_ns: u64, socket: u64, direction: ResetDirection) -> Decoded {
        let mut event = samples::reset();
        event.mono_ns = mono_ns;
        if let Facts::Reset(facts) = &mut event.facts {
            facts.direction = direction;
        }
        Decoded {
            event,
            socket,
            may_be_replaced: direction == ResetDirection::Received,
            replaces: false,
        }
    }

    fn other(mono_ns: u64) -> Decoded {
        let mut event = samples::time_wait();
        event.mono_ns = mono_ns;
        Decoded {
            event,
            socket: 0,
            may_be_replaced: false,
            replaces: false,
        }
    }

    fn times(events: impl Iterator<Item = Event>) -> Vec<u64> {
        events.map(|event| event.mono_ns).collect()
    }

    #[test]
    fn a_replaced_reset_is_dropped_and_order_kept() {
        let mut judge = Judge::default();
        judge.push(other(1));
        judge.push(reset(2, 7, ResetDirection::Received));
        judge.push(other(3));
        assert_eq!(times(judge.release(3)), [1]);
        let mut replacement = reset(4, 7, ResetDirection::Sent);
        replacement.replaces = true;
        judge.push(replacement);
        assert_eq!(times(judge.release(4)), [3, 4]);
    }

    #[test]
    fn a_real_reset_goes_through_after_its_time() {
        let mut judge = Judge::default();
        judge.push(reset(2, 7, ResetDirection::Received));
        judge.push(other(3));
        assert!(times(judge.release(1 + HOLD_NS)).is_empty());
        assert_eq!(times(judge.release(2 + HOLD_NS)), [2, 3]);
    }

    #[test]
    fn another_socket_replaces_nothing() {
        let mut judge = Judge::default();
        judge.push(reset(2, 7, ResetDirection::Received));
        let mut replacement = reset(4, 8, ResetDirection::Sent);
        replacement.replaces = true;
        judge.push(replacement);
        assert_eq!(times(judge.release(u64::MAX)), [2, 4]);
    }

    #[test]
    fn the_latest_of_two_is_replaced() {
        let mut judge = Judge::default();
        judge.push(reset(2, 7, ResetDirection::Received));
        judge.push(reset(3, 7, ResetDirection::Received));
        let mut replacement = reset(4, 7, ResetDirection::Sent);
        replacement.replaces = true;
        judge.push(replacement);
        assert_eq!(times(judge.release(u64::MAX)), [2, 4]);
    }
}
