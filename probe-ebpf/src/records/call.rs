//! Calls under way, of the system and of kernel functions.

use twtrace_wire::ReuseRefusal;

/// Arguments of an inet_twsk_alloc() under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Birth {
    pub sock: u64,
    pub substate: u64,
}

/// A search under way in a kernel function.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Search {
    pub sock: u64,
    pub began_ns: u64,
    pub op: u32,
    pub requested: u32,
    /// TIME_WAITs it met and could not take, by [`ReuseRefusal`].
    pub refused: [u32; ReuseRefusal::COUNT],
    pub reserved: u32,
}

/// The arguments of a kprobed function that its return needs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arguments {
    pub mini: u64,
    /// Of tcp_twsk_unique(): `twp`, which is null for a socket that was bound.
    pub twp: u64,
}

/// A system call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    pub descriptor: u64,
    /// The user's `struct sockaddr`; 0 for listen().
    pub address: u64,
    /// When the search began: with bind() the call itself, with listen() LISTEN and with connect() SYN_SENT, and 0
    /// as long as that has not come.
    pub began_ns: u64,
    pub op: u32,
    /// Of listen() and connect(), once it began: bind() has it in `address`.
    pub requested: u32,
    /// The socket's own range of ports, where connect() looks through that.
    pub own_range: [u16; 2],
    pub reserved: u32,
}

/// Where a system call under way usually is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CallSlot {
    /// The thread (`bpf_get_current_pid_tgid`); 0 for nobody's.
    pub thread: u64,
    pub call: Call,
}
