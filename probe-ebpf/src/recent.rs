//! The socket that this CPU destroyed last, if a RST of its may follow.
//!
//! Data after close: tcp_rcv_state_process() has tcp_done() destroy the orphan, and its caller sends the RST then, by the
//! destroyed socket (net/ipv4/tcp_input.c, tcp_ipv4.c). Bottom halves are off from the one to the other, also where an
//! orphan works off its backlog (__tcp_close()): no other socket is destroyed on this CPU in between, and none gets this
//! one's memory. The next one to be destroyed here takes its place, whether or not a RST may follow of that; and the
//! connection is compared besides, so that an entry whose RST never came speaks for no other socket at its address.

use crate::{
    kernel::Sock,
    maps::RECENT,
    records::{Recent, Story},
    timewait::tuple_key,
};

/// Keeps what is known of a socket that is being destroyed.
#[inline(always)]
pub fn keep(sock: Sock, story: &Story) {
    if let Some(recent) = RECENT.get_ptr_mut(0) {
        // SAFETY: a per-CPU slot; integers.
        unsafe {
            *recent = Recent {
                sock: sock.0,
                tuple: tuple_key(sock, sock.source_port()),
                story: *story,
            };
        }
    }
}

/// A socket is being destroyed: what this CPU destroyed before answers nothing any more. The other program of the hook may
/// have kept this very one.
#[inline(always)]
pub fn forget_others(sock: Sock) {
    if let Some(recent) = RECENT.get_ptr_mut(0) {
        // SAFETY: a per-CPU slot.
        unsafe {
            if (*recent).sock != sock.0 {
                (*recent).sock = 0;
            }
        }
    }
}

/// What was known of a socket that this CPU has just destroyed; once.
#[inline(always)]
pub fn take(sock: Sock) -> Option<*mut Story> {
    let recent = RECENT.get_ptr_mut(0)?;
    // SAFETY: a per-CPU slot; integers.
    unsafe {
        if (*recent).sock != sock.0 || (*recent).tuple != tuple_key(sock, sock.source_port()) {
            return None;
        }
        (*recent).sock = 0;
        Some(&raw mut (*recent).story)
    }
}
