//! Sockets between FIN_WAIT1 and the creation of their mini-socket (timer tier): leads from the mini-socket back to the
//! full socket.
//!
//! The kernel's hash of the tuple is the same in both sockets. It selects a slot of an array that holds the full
//! socket's address, which is cheaper than a hash table. The socket itself is then checked. If a slot is taken, the
//! next socket is entered in a map. If two CPUs write one slot at the same moment, one entry is lost. That creation is
//! then reported at the full socket's →CLOSE, since the mini-socket is in the kernel's table by then
//! ([`hashed`](crate::mini_sockets::hashed)).

use twtrace_wire::TupleKey;

use crate::{
    constants::config,
    maps::{CLOSING, CLOSING_SLOTS},
    sockets::{
        sock::{IPPROTO_TCP, Sock},
        state,
        tuple::tuple_key,
    },
};

/// The slot that a hash selects.
#[inline(always)]
fn slot(hash: u32) -> Option<*mut u64> {
    CLOSING_SLOTS.get_ptr_mut(hash & config!(closing_mask))
}

/// Enters a socket that has changed to FIN_WAIT1.
#[inline(always)]
pub fn enter(sock: Sock) {
    let hash = sock.hash();
    if let Some(slot) = slot(hash) {
        // SAFETY: an integer in a map value.
        unsafe {
            if *slot == 0 || *slot == sock.0 || !still_closing(Sock(*slot), hash) {
                *slot = sock.0;
                return;
            }
        }
    }
    let _ = CLOSING.insert(key_of(sock), sock.0, 0);
}

/// Removes a closing socket that ended without a mini-socket.
#[inline(always)]
pub fn leave(sock: Sock) {
    if let Some(slot) = slot(sock.hash()) {
        // SAFETY: an integer in a map value.
        unsafe {
            if *slot == sock.0 {
                *slot = 0;
                return;
            }
        }
    }
    let _ = CLOSING.remove(key_of(sock));
}

/// Removes and returns the closing socket with a mini-socket's tuple, if there is one.
#[inline(always)]
pub fn take(mini: Sock) -> Option<Sock> {
    let key = tuple_key(mini, mini.local_port());
    if let Some(slot) = slot(key.hash) {
        // SAFETY: an integer in a map value.
        let sock = Sock(unsafe { *slot });
        if sock.0 != 0 && is_closing(sock) && key_of(sock) == key {
            // SAFETY: as above.
            unsafe { *slot = 0 };
            return Some(sock);
        }
    }
    let sock = CLOSING.get_ptr(key)?;
    // SAFETY: an integer in a map value.
    let sock = Sock(unsafe { *sock });
    let _ = CLOSING.remove(key);
    Some(sock)
}

#[inline(always)]
fn key_of(sock: Sock) -> TupleKey {
    tuple_key(sock, sock.source_port())
}

/// Whether the socket of a slot is still closing; its end may have been missed. If its memory belongs to another socket
/// by now, that one is very unlikely to be closing with a hash of this slot.
#[inline(always)]
fn still_closing(sock: Sock, hash: u32) -> bool {
    is_closing(sock) && (sock.hash() ^ hash) & config!(closing_mask) == 0
}

#[inline(always)]
fn is_closing(sock: Sock) -> bool {
    sock.protocol() == IPPROTO_TCP
        && matches!(
            sock.state(),
            state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSING
        )
}
