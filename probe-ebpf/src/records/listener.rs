//! Listeners, and RSTs of connections that no process has accepted yet.

use super::actor::Actor;

/// What is known of the owner of a listener.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Listener {
    /// The process that called listen().
    pub opener: Actor,
    /// The first process that accepted from it.
    pub acceptor: Actor,
    /// Address of its `struct net`.
    pub net: u64,
    pub port: u32,
    /// 1 if other processes accept from it, too.
    pub is_shared: u32,
}

/// An accept() that found its listener.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Accepting {
    /// Thread group and thread.
    pub thread: u64,
    /// When its process started: thread ids come back.
    pub start_boot_ns: u64,
    /// Address of the listener's `struct file`: it is not freed before the listener is closed.
    pub file: u64,
    /// How many entries of listeners had come or gone by then.
    pub changes: u64,
    /// How often the same came again since the listener was looked up.
    pub times: u64,
}

/// A RST for which no process could be named yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Unaccepted {
    /// When it came (CLOCK_MONOTONIC, nanoseconds).
    pub at_ns: u64,
    /// The state of the socket that it met.
    pub state: u64,
}
