//! What is known of an open socket, and briefly of one that was destroyed.

use twtrace_wire::{NO_SITE, Side, TupleKey, Unattributed};

use super::actor::Actor;

/// The beginning of the connection was seen: the socket was not open before tracing.
pub const BEGUN: u32 = 1 << 0;
/// It changed to FIN_WAIT1: it ends in a TIME_WAIT, or something went wrong.
pub const ACTIVE_CLOSE: u32 = 1 << 1;
/// The creation or refusal of its mini-socket was seen.
pub const BORN: u32 = 1 << 2;
/// The creation or refusal was inferred from the last state only: a RST that follows refutes it (`flags::MAY_BE_DATA`).
pub const BORN_INFERRED: u32 = 1 << 12;
/// →CLOSE was seen.
pub const CLOSED: u32 = 1 << 3;
/// A RST was sent.
pub const RST_SENT: u32 = 1 << 4;
/// A RST was received.
pub const RST_RECEIVED: u32 = 1 << 5;
/// The received RST may have been data after close (`flags::MAY_BE_DATA`).
pub const RST_MAY_BE_DATA: u32 = 1 << 6;
/// The second program has reported →CLOSE, and the first one has not run yet.
pub const CLOSED_BY_SECOND: u32 = 1 << 7;

/// A RST was received before any process had accepted it: see `resets::unaccepted`.
pub const RST_UNACCEPTED: u32 = 1 << 13;

/// Its port search is counted, but its result is not known yet: see `ports::uncalled`.
pub const SEARCHES_UNCALLED: u32 = 1 << 14;

/// The fact behind [`BORN_INFERRED`] or [`RST_MAY_BE_DATA`] precedes counting: there is nothing to take back.
pub const UNCOUNTED: u32 = 1 << 15;

/// A kernel thread closed it, for a process that is not known: it finished a delayed fput(), a dead io_uring, or a
/// UNIX socket in which the descriptor was in flight. The opener may have given it away long before.
pub const CLOSED_BY_WORKER: u32 = 1 << 16;

/// Another process than the closer, which had called shutdown(), closed it: that data comes too late is due to that one.
pub const CLOSED_BY_OTHER: u32 = 1 << 17;

/// The connection state of an open socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Conn {
    /// The process that connected or accepted it.
    pub opener: Actor,
    /// The process that moved it out of ESTABLISHED first.
    pub closer: Actor,
    /// Time of ESTABLISHED (CLOCK_MONOTONIC, nanoseconds), or 0.
    pub established_ns: u64,
    /// Time from which no more data was expected (CLOCK_MONOTONIC, nanoseconds): close(), or shutdown() of both
    /// directions; or 0.
    pub closed_ns: u64,
    /// Place in the closer's code that closed it: a key of `SITES`, `NO_SITE` or `LOST_SITE`.
    pub site: u64,
    /// Bits of the constants above.
    pub flags: u32,
    /// The kernel's hash of the connection at ESTABLISHED.
    pub hash: u32,
    /// A [`Side`] as a number.
    pub side: u8,
    /// The state before →CLOSE.
    pub closed_from: u8,
    /// The port that it was bound to when it connected, if it [`SEARCHES_UNCALLED`].
    pub requested: u16,
    pub reserved: [u8; 4],
}

impl Conn {
    const fn new(closer: Unattributed) -> Self {
        Self {
            opener: Actor::nobody(Unattributed::Unknown),
            closer: Actor::nobody(closer),
            established_ns: 0,
            closed_ns: 0,
            site: NO_SITE,
            flags: 0,
            hash: 0,
            side: Side::Unknown as u8,
            closed_from: 0,
            requested: 0,
            reserved: [0; 4],
        }
    }
}

/// The connection state of a socket of which nothing is known yet: all zero, like slots that were never used.
pub static NEW: Conn = Conn::new(Unattributed::Unknown);
const _: () =
    assert!(Unattributed::Unknown as u32 == 0 && NO_SITE == 0 && Side::Unknown as u8 == 0);

/// The connection state of a socket that began to close before tracing.
pub static STRANGER: Conn = Conn::new(Unattributed::ClosedBeforeTracing);

/// The connection state of a socket whose own found no room.
pub static FORGOTTEN: Conn = Conn::new(Unattributed::Lost);

/// A socket that was destroyed, and its connection state.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Recent {
    /// Its address; 0 for none.
    pub sock: u64,
    /// Identifies its connection.
    pub tuple: TupleKey,
    pub conn: Conn,
}

/// No socket. Copied into the map, since it is too large for the stack.
pub static NO_RECENT: Recent = Recent {
    sock: 0,
    tuple: TupleKey {
        net: 0,
        hash: 0,
        local_port: 0,
        remote_port: 0,
    },
    conn: Conn::new(Unattributed::Unknown),
};
