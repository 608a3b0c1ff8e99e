//! System calls and kernel functions in progress.

use twtrace_wire::ReuseRefusal;

/// A port search in progress in a kernel function.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Search {
    pub sock: u64,
    pub began_ns: u64,
    pub op: u32,
    pub requested: u32,
    /// Number of TIME_WAITs that it met and could not take, by [`ReuseRefusal`].
    pub refused: [u32; ReuseRefusal::COUNT],
    pub reserved: u32,
}

/// Arguments of a kprobed function that are needed at its return.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arguments {
    /// The full socket of `inet_twsk_alloc()`; the mini-socket of the others.
    pub sock: u64,
    /// `twp` of `tcp_twsk_unique()`, which is null for a socket that was bound; `state` of `inet_twsk_alloc()`; else 0.
    pub other: u64,
}

/// A system call in progress.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    pub descriptor: u64,
    /// The user's `struct sockaddr`; 0 for listen().
    pub address: u64,
    /// When the search began: in bind() at the call itself, in listen() at LISTEN, in connect() at SYN_SENT; 0 until
    /// then.
    pub began_ns: u64,
    pub op: u32,
    /// Requested port of listen() and connect(), once the search has begun; bind() has it in `address`.
    pub requested: u32,
    /// The socket's own port range, if connect() searches it.
    pub own_range: [u16; 2],
    pub reserved: u32,
    /// The socket whose search began; 0 until then, and in bind().
    pub sock: u64,
}
