//! Sockets between FIN_WAIT1 and the birth of their mini-socket (timer tier): the way from the mini-socket back to the full
//! one.
//!
//! The kernel's hash of a tuple is the same in both, and a socket's address in a slot of an array is found by it without a
//! hash table's work. That the slot's socket is the one is seen by looking at it. A slot that is taken sends the next one
//! to a map. Where two CPUs meet in one slot at the same nanoseconds, one of the entries is lost: that birth is told at the full
//! socket's →CLOSE, since the mini-socket is in the kernel's table then ([`hashed`](crate::mini_sockets::hashed)).

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

/// The slot of a hash.
#[inline(always)]
fn slot(hash: u32) -> Option<*mut u64> {
    CLOSING_SLOTS.get_ptr_mut(hash & config!(closing_mask))
}

/// Enters a socket that went to FIN_WAIT1.
#[inline(always)]
pub fn enter(sock: Sock) {
    let hash = sock.hash();
    if let Some(slot) = slot(hash) {
        // SAFETY: a map value, an integer.
        unsafe {
            if *slot == 0 || *slot == sock.0 || !still_closing(Sock(*slot), hash) {
                *slot = sock.0;
                return;
            }
        }
    }
    let _ = CLOSING.insert(key_of(sock), sock.0, 0);
}

/// A closing socket is gone without a mini-socket.
#[inline(always)]
pub fn leave(sock: Sock) {
    if let Some(slot) = slot(sock.hash()) {
        // SAFETY: a map value, an integer.
        unsafe {
            if *slot == sock.0 {
                *slot = 0;
                return;
            }
        }
    }
    let _ = CLOSING.remove(key_of(sock));
}

/// The socket that is closing with a mini-socket's tuple, if there is one; it is not in here any more.
#[inline(always)]
pub fn take(mini: Sock) -> Option<Sock> {
    let key = tuple_key(mini, mini.local_port());
    if let Some(slot) = slot(key.hash) {
        // SAFETY: a map value, an integer.
        let sock = Sock(unsafe { *slot });
        if sock.0 != 0 && is_closing(sock) && key_of(sock) == key {
            // SAFETY: as above.
            unsafe { *slot = 0 };
            return Some(sock);
        }
    }
    let sock = CLOSING.get_ptr(key)?;
    // SAFETY: a plain integer in a map value.
    let sock = Sock(unsafe { *sock });
    let _ = CLOSING.remove(key);
    Some(sock)
}

#[inline(always)]
fn key_of(sock: Sock) -> TupleKey {
    tuple_key(sock, sock.source_port())
}

/// Whether the socket of a slot has not gone without a word. Its memory may be another's by now: then it is most
/// unlikely to look like one of this slot.
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
