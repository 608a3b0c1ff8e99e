//! What is known of an open socket, and for a moment of one that was destroyed.

use twtrace_wire::{NO_SITE, Side, TupleKey, Unattributed};

use super::actor::Actor;

/// Its beginning was seen: it was not open before tracing.
pub const BEGUN: u32 = 1 << 0;
/// It went to FIN_WAIT1: its end is a TIME_WAIT, or something went wrong.
pub const ACTIVE_CLOSE: u32 = 1 << 1;
/// Its mini-socket was seen being made, or refused.
pub const BORN: u32 = 1 << 2;
/// ... by the socket's last state only: a RST that follows says that it was not (`flags::MAY_BE_DATA`).
pub const BORN_INFERRED: u32 = 1 << 12;
/// →CLOSE was seen.
pub const CLOSED: u32 = 1 << 3;
/// A RST was sent.
pub const RST_SENT: u32 = 1 << 4;
/// A RST was received.
pub const RST_RECEIVED: u32 = 1 << 5;
/// ... which may have been data after close (`flags::MAY_BE_DATA`).
pub const RST_MAY_BE_DATA: u32 = 1 << 6;
/// →CLOSE was reported by the second program, and the first one has not come yet.
pub const CLOSED_BY_SECOND: u32 = 1 << 7;

/// A RST was received before anybody had accepted it: see `resets::unaccepted`.
pub const RST_UNACCEPTED: u32 = 1 << 13;

/// Its search for a port is counted, and what came of it is not known yet: see `ports::uncalled`.
pub const SEARCHES_UNCALLED: u32 = 1 << 14;

/// What [`BORN_INFERRED`] or [`RST_MAY_BE_DATA`] stands for was before counting began: there is nothing to take back.
pub const UNCOUNTED: u32 = 1 << 15;

/// The connection state of an open socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Conn {
    /// Who connected or accepted it.
    pub opener: Actor,
    /// Who moved it out of ESTABLISHED first.
    pub closer: Actor,
    /// CLOCK_MONOTONIC at ESTABLISHED, or 0.
    pub established_ns: u64,
    /// CLOCK_MONOTONIC when no more data was to come: close(), or shutdown() both ways; or 0.
    pub closed_ns: u64,
    /// Where in its code the closer closed: a key of `SITES`, `NO_SITE` or `LOST_SITE`.
    pub site: u64,
    /// The constants above.
    pub flags: u32,
    /// The kernel's hash of its connection at ESTABLISHED.
    pub hash: u32,
    /// [`Side`].
    pub side: u8,
    /// State before →CLOSE.
    pub closed_from: u8,
    /// The port that it was bound to when it connected, where it [`SEARCHES_UNCALLED`].
    pub requested: u16,
    pub reserved: [u8; 4],
}

/// Where a socket's connection state usually is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConnSlot {
    /// The socket's address; 0 for nobody's, and then the connection state is that of a socket of which nothing is known yet.
    pub sock: u64,
    /// Not 0 once another socket found this slot taken: connection states of such are in `CONNS`.
    pub spilled: u64,
    pub conn: Conn,
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

/// The connection state of a socket of which nothing is known yet: all zero, as slots are that nobody has used.
pub static NEW: Conn = Conn::new(Unattributed::Unknown);
const _: () =
    assert!(Unattributed::Unknown as u32 == 0 && NO_SITE == 0 && Side::Unknown as u8 == 0);

/// The connection state of a socket that had begun to close before tracing.
pub static STRANGER: Conn = Conn::new(Unattributed::ClosedBeforeTracing);

/// The connection state of a socket that found no room for its own.
pub static FORGOTTEN: Conn = Conn::new(Unattributed::Lost);

/// A socket that was destroyed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Recent {
    /// Its address; 0 for none.
    pub sock: u64,
    /// Its connection.
    pub tuple: TupleKey,
    pub conn: Conn,
}

/// None: copied into the map, since it is too large for the stack.
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
