//! What is kept of a connection with its mini-socket.

use twtrace_wire::{NO_SITE, UNKNOWN, Unattributed};

use super::actor::Actor;

/// The part of the connection state that the end or the answer of a mini-socket needs. Hash and ports reveal a recycled
/// address: mini-sockets come from a SLAB_TYPESAFE_BY_RCU cache, and an address comes back within milliseconds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MiniConn {
    pub closer: Actor,
    pub opener: Actor,
    pub hash: u32,
    pub local_port: u16,
    pub remote_port: u16,
    pub side: u8,
    /// State in which it began: FIN_WAIT2 or TIME_WAIT.
    pub substate: u8,
    /// Not 0: [`CLOSED_BY_OTHER`](super::CLOSED_BY_OTHER).
    pub is_closed_by_other: u8,
    pub reserved: [u8; 5],
    /// When it was created (CLOCK_MONOTONIC, nanoseconds).
    pub born_ns: u64,
    /// Its age when the peer's FIN came, if it began in FIN_WAIT2; else `UNKNOWN`.
    pub promoted_ns: u64,
    /// Time of ESTABLISHED (CLOCK_MONOTONIC, nanoseconds), or 0.
    pub established_ns: u64,
    /// As in [`Conn`](super::Conn).
    pub closed_ns: u64,
    /// As in [`Conn`](super::Conn).
    pub site: u64,
    /// When data last passed in either direction (CLOCK_MONOTONIC, nanoseconds), or 0.
    pub last_data_ns: u64,
    /// When this end last sent data (CLOCK_MONOTONIC, nanoseconds), or 0.
    pub last_sent_ns: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// Copied into the map before it is filled in place.
pub static NEW_MINI: MiniConn = MiniConn {
    closer: Actor::nobody(Unattributed::Unknown),
    opener: Actor::nobody(Unattributed::Unknown),
    hash: 0,
    local_port: 0,
    remote_port: 0,
    side: 0,
    substate: 0,
    is_closed_by_other: 0,
    reserved: [0; 5],
    born_ns: 0,
    promoted_ns: UNKNOWN,
    established_ns: 0,
    closed_ns: 0,
    site: NO_SITE,
    last_data_ns: 0,
    last_sent_ns: 0,
    bytes_sent: 0,
    bytes_received: 0,
};

/// A mini-socket whose timer has expired on this CPU.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Expiring {
    /// Its address; 0 for none.
    pub mini: u64,
    /// When its timer was due, in jiffies.
    pub expires: u64,
    /// Not 0 if its end is reported already.
    pub is_reported: u64,
}
