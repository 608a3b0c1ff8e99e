//! Connects of one pair that ended before the handshake, and that no RST refused.

use twtrace_wire::{AbortReason, TcpState};

use super::moments::Moments;
use super::sparse::Nothing;
use crate::event::{Abort, Event};

/// Those of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unconnected {
    /// Their process gave up after the SYN had been sent again.
    pub given_up: u64,
    /// The kernel gave up (`tcp_syn_retries`, ETIMEDOUT).
    pub timed_out: u64,
    /// An ICMP message ended them, such as EHOSTUNREACH.
    pub unreachable: u64,
    /// When they ended.
    pub at: Moments,
}

impl Nothing for Unconnected {
    const NOTHING: &'static Self = &Self {
        given_up: 0,
        timed_out: 0,
        unreachable: 0,
        at: Moments::NONE,
    };

    fn is_nothing(&self) -> bool {
        self.count() == 0
    }
}

impl Unconnected {
    /// Counts a connection that ended without RST, if it was connecting.
    pub fn add(&mut self, event: &Event, abort: &Abort) {
        if abort.state != Some(TcpState::SynSent) {
            return;
        }
        match abort.reason {
            AbortReason::Unanswered => self.given_up += 1,
            AbortReason::Timeout => self.timed_out += 1,
            AbortReason::Other => self.unreachable += 1,
            AbortReason::Destroyed => return,
        }
        self.at.add(event.mono_ns);
    }

    /// Adds another's.
    pub fn add_all(&mut self, other: &Self) {
        self.given_up += other.given_up;
        self.timed_out += other.timed_out;
        self.unreachable += other.unreachable;
        self.at.add_all(&other.at);
    }

    /// Number of connects.
    pub fn count(&self) -> u64 {
        self.given_up + self.timed_out + self.unreachable
    }
}
