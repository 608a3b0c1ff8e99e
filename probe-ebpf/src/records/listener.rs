//! Listeners, and connections that nobody has accepted yet.

use super::actor::Actor;

/// Whose a listener is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Listener {
    /// Who called listen().
    pub opener: Actor,
    /// Who was the first to accept from it.
    pub acceptor: Actor,
    /// Address of its `struct net`.
    pub net: u64,
    pub port: u32,
    /// 1 where others accept from it, too.
    pub is_shared: u32,
}

/// A RST that nobody could be named for yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Unaccepted {
    /// CLOCK_MONOTONIC when it came.
    pub at_ns: u64,
    /// The state that it found.
    pub state: u64,
}
