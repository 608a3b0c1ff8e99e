//! Corrects events that a later record replaces or completes.
//!
//! If data arrives after close, the kernel first runs through the code that handles a received RST, or changes to CLOSE
//! as if it had created or refused a mini-socket; then it sends a RST. The kernel side marks the first event as
//! replaceable and the second as its replacement, and has corrected its own totals by then; here the first is dropped
//! from the stream of events.
//!
//! Two kinds of events wait apart from others, for a second at most: a connection that was reset before it was accepted,
//! since accept() names its process; and a replaceable event of a process that works off its socket's backlog, since it
//! may be preempted before it sends the RST. Such events come late, with the time at which they happened.

use std::collections::VecDeque;

use twtrace_wire::ACCEPT_WAIT_NS as APART_NS;

use super::Event;
use super::decode::Decoded;

/// How long to wait for a replacement, nanoseconds of the events' own time.
pub const HOLD_NS: u64 = 150_000_000;

/// Holds replaceable events back, and all events after them, to keep the order.
#[derive(Debug, Default)]
pub struct ResetCorrelation {
    held: VecDeque<Decoded>,
    /// Events that wait apart, oldest first.
    apart: VecDeque<Decoded>,
}

impl ResetCorrelation {
    /// Takes the next event, in the order of the ring buffer.
    pub fn push(&mut self, decoded: Decoded) {
        if decoded.is_acceptor {
            return self.accepted(decoded);
        }
        if decoded.waits_apart {
            self.apart.push_back(decoded);
            return;
        }
        if decoded.replaces {
            for queue in [&mut self.held, &mut self.apart] {
                let replaced = queue.iter().rposition(|held| {
                    held.may_be_replaced
                        && held.socket == decoded.socket
                        && is_same_connection(&held.event, &decoded.event)
                });
                if let Some(index) = replaced {
                    queue.remove(index);
                    break;
                }
            }
        }
        self.held.push_back(decoded);
    }

    /// Whether events wait that a later record may replace.
    pub fn waits_for_replacement(&self) -> bool {
        let mut waiting = self.held.iter().chain(&self.apart);
        waiting.any(|decoded| decoded.may_be_replaced)
    }

    /// Removes the events that a later record may replace: records of RSTs were lost, and what replaces them may be
    /// among those. Without it they would stand for what never happened.
    pub fn take_replaceable(&mut self) -> Vec<Event> {
        let mut taken = Vec::new();
        for queue in [&mut self.held, &mut self.apart] {
            for decoded in std::mem::take(queue) {
                if decoded.may_be_replaced {
                    taken.push(decoded.event);
                } else {
                    queue.push_back(decoded);
                }
            }
        }
        taken
    }

    /// Releases the reset that waits for this acceptor: the same socket at the same nanosecond. Addresses are cleared
    /// if a listener closes connections that nobody accepted.
    fn accepted(&mut self, acceptor: Decoded) {
        let waiting = self.apart.iter().position(|waiting| {
            waiting.socket == acceptor.socket && waiting.event.mono_ns == acceptor.event.mono_ns
        });
        if let Some(mut reset) = waiting.and_then(|index| self.apart.remove(index)) {
            reset.event.process = acceptor.event.process;
            reset.event.unattributed = acceptor.event.unattributed;
            reset.event.opener = acceptor.event.opener;
            self.held.push_back(reset);
        }
    }

    /// Releases, oldest first, the events that no replacement can reach any more, given that every record before
    /// `seen_until_mono_ns` was pushed.
    pub fn release(&mut self, seen_until_mono_ns: u64) -> impl Iterator<Item = Event> {
        let in_vain = self.apart.partition_point(|waiting| {
            waiting.event.mono_ns.saturating_add(APART_NS) <= seen_until_mono_ns
        });
        self.held.extend(self.apart.drain(..in_vain));
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
        let latest = |queue: &VecDeque<Decoded>| queue.back().map(|held| held.event.mono_ns);
        latest(&self.held).max(latest(&self.apart))
    }
}

/// If two sockets had the same address one after the other, neither may replace a record of the other.
fn is_same_connection(one: &Event, other: &Event) -> bool {
    (one.netns, one.local, one.remote) == (other.netns, other.local, other.remote)
}

#[cfg(test)]
mod tests {
    use twtrace_wire::ResetDirection;

    use super::*;
    use crate::event::{EventFacts, Process, samples};

    fn reset(mono_ns: u64, socket: u64, direction: ResetDirection) -> Decoded {
        let mut event = samples::reset();
        event.mono_ns = mono_ns;
        if let EventFacts::Reset(facts) = &mut event.facts {
            facts.direction = direction;
        }
        Decoded {
            event,
            socket,
            may_be_replaced: direction == ResetDirection::Received,
            replaces: false,
            waits_apart: false,
            is_acceptor: false,
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
            waits_apart: false,
            is_acceptor: false,
        }
    }

    fn times(events: impl Iterator<Item = Event>) -> Vec<u64> {
        events.map(|event| event.mono_ns).collect()
    }

    #[test]
    fn a_replaced_reset_is_dropped_and_order_kept() {
        let mut reset_correlation = ResetCorrelation::default();
        reset_correlation.push(other(1));
        reset_correlation.push(reset(2, 7, ResetDirection::Received));
        reset_correlation.push(other(3));
        assert_eq!(times(reset_correlation.release(3)), [1]);
        let mut replacement = reset(4, 7, ResetDirection::Sent);
        replacement.replaces = true;
        reset_correlation.push(replacement);
        assert_eq!(times(reset_correlation.release(4)), [3, 4]);
    }

    #[test]
    fn what_may_have_lost_its_replacement_is_taken_out() {
        let mut reset_correlation = ResetCorrelation::default();
        reset_correlation.push(other(1));
        assert!(!reset_correlation.waits_for_replacement());
        reset_correlation.push(reset(2, 7, ResetDirection::Received));
        let mut waiting = reset(3, 8, ResetDirection::Received);
        waiting.waits_apart = true;
        reset_correlation.push(waiting);
        reset_correlation.push(other(4));
        assert!(reset_correlation.waits_for_replacement());
        let taken = reset_correlation.take_replaceable();
        assert_eq!(times(taken.into_iter()), [2, 3]);
        assert_eq!(times(reset_correlation.release(5)), [1, 4]);
    }

    #[test]
    fn a_real_reset_goes_through_after_its_time() {
        let mut reset_correlation = ResetCorrelation::default();
        reset_correlation.push(reset(2, 7, ResetDirection::Received));
        reset_correlation.push(other(3));
        assert!(times(reset_correlation.release(1 + HOLD_NS)).is_empty());
        assert_eq!(times(reset_correlation.release(2 + HOLD_NS)), [2, 3]);
    }

    #[test]
    fn an_inferred_refusal_is_replaced_by_a_reset_of_its_connection_only() {
        for (is_same, left) in [(true, vec![3]), (false, vec![2, 3])] {
            let mut reset_correlation = ResetCorrelation::default();
            let mut replacement = reset(3, 7, ResetDirection::Sent);
            replacement.replaces = true;
            let mut refused = other(2);
            refused.socket = 7;
            refused.may_be_replaced = true;
            let connection = &replacement.event;
            refused.event.netns = connection.netns;
            refused.event.remote = connection.remote;
            refused.event.local = is_same.then_some(connection.local).flatten();
            reset_correlation.push(refused);
            reset_correlation.push(replacement);
            assert_eq!(times(reset_correlation.release(u64::MAX)), left);
        }
    }

    #[test]
    fn another_socket_replaces_nothing() {
        let mut reset_correlation = ResetCorrelation::default();
        reset_correlation.push(reset(2, 7, ResetDirection::Received));
        let mut replacement = reset(4, 8, ResetDirection::Sent);
        replacement.replaces = true;
        reset_correlation.push(replacement);
        assert_eq!(times(reset_correlation.release(u64::MAX)), [2, 4]);
    }

    fn unaccepted(mono_ns: u64) -> Decoded {
        let mut decoded = reset(mono_ns, 7, ResetDirection::Received);
        decoded.may_be_replaced = false;
        decoded.waits_apart = true;
        decoded.event.process = None;
        decoded
    }

    #[test]
    fn none_accepts_what_was_no_reset() {
        let mut reset_correlation = ResetCorrelation::default();
        let mut waiting = unaccepted(2);
        waiting.may_be_replaced = true;
        reset_correlation.push(waiting);
        let mut replacement = reset(3, 7, ResetDirection::Sent);
        replacement.replaces = true;
        reset_correlation.push(replacement);
        assert_eq!(times(reset_correlation.release(u64::MAX)), [3]);
    }

    /// 294 ms were seen on an emulated machine.
    #[test]
    fn a_preempted_process_may_replace_late() {
        let mut reset_correlation = ResetCorrelation::default();
        let mut waiting = reset(2, 7, ResetDirection::Received);
        waiting.waits_apart = true;
        reset_correlation.push(waiting);
        reset_correlation.push(other(3));
        let late_ns = 2 + 2 * HOLD_NS;
        assert_eq!(times(reset_correlation.release(late_ns)), [3]);
        let mut replacement = reset(late_ns, 7, ResetDirection::Sent);
        replacement.replaces = true;
        reset_correlation.push(replacement);
        assert_eq!(times(reset_correlation.release(u64::MAX)), [late_ns]);
    }

    #[test]
    fn who_accepts_is_named_for_a_reset_that_came_before() {
        let mut reset_correlation = ResetCorrelation::default();
        reset_correlation.push(unaccepted(2));
        reset_correlation.push(other(3));
        // Other events do not wait.
        assert_eq!(times(reset_correlation.release(3)), [3]);
        let mut acceptor = unaccepted(2);
        acceptor.waits_apart = false;
        acceptor.is_acceptor = true;
        acceptor.event.process = samples::reset().process;
        assert!(acceptor.event.process.is_some());
        // Not for another socket, or for an earlier reset at this address.
        for (socket, mono_ns) in [(8, 2), (7, 1)] {
            let mut unrelated = acceptor.clone();
            unrelated.socket = socket;
            unrelated.event.mono_ns = mono_ns;
            reset_correlation.push(unrelated);
            assert!(times(reset_correlation.release(4)).is_empty());
        }
        reset_correlation.push(acceptor.clone());
        // Only once.
        reset_correlation.push(acceptor);
        let released: Vec<Event> = reset_correlation.release(5).collect();
        assert_eq!(released.len(), 1);
        let pid = |process: &Option<_>| process.as_ref().map(|it: &Process| it.key);
        assert_eq!(pid(&released[0].process), pid(&samples::reset().process));
    }

    #[test]
    fn a_reset_that_nobody_accepts_is_told_as_nobodys() {
        let mut reset_correlation = ResetCorrelation::default();
        reset_correlation.push(unaccepted(2));
        assert!(times(reset_correlation.release(1 + APART_NS)).is_empty());
        let released: Vec<Event> = reset_correlation.release(2 + APART_NS).collect();
        assert!(released.len() == 1 && released[0].process.is_none());
    }

    #[test]
    fn the_latest_of_two_is_replaced() {
        let mut reset_correlation = ResetCorrelation::default();
        reset_correlation.push(reset(2, 7, ResetDirection::Received));
        reset_correlation.push(reset(3, 7, ResetDirection::Received));
        let mut replacement = reset(4, 7, ResetDirection::Sent);
        replacement.replaces = true;
        reset_correlation.push(replacement);
        assert_eq!(times(reset_correlation.release(u64::MAX)), [2, 4]);
    }
}
