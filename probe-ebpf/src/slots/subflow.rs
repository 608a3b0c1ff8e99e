//! MPTCP: who opened and closed the socket that a TCP connection is a subflow of, and what its close() meant.
//!
//! A process has the MPTCP socket's descriptor only. Subflows are closed by kernel threads, or under `lock_sock_fast()`, which
//! owns nothing; all but the first are never accept()ed, and that one only under its MPTCP socket's name where accept() is seen
//! by its system call.

use twtrace_wire::ResetReason;

use crate::{
    maps::MPTCP,
    processes::process::actor,
    records::{Actor, Conn, NEW},
    slots::conn,
    sockets::{
        sock::{SHUT_BOTH, Sock},
        state,
    },
};

/// An MPTCP socket's own state (protocol 262), which is no connection of its own.
///
/// Only under its lock is the acting process one of the socket's own: `__mptcp_subflow_error_report()` also closes it in
/// softirq, while anybody runs.
#[inline(always)]
pub fn whole_transition(whole: Sock, old: u8, new: u8) {
    if old == state::LISTEN {
        return whole_cloned(whole);
    }
    if !whole.owned() {
        return;
    }
    let acting = actor(whole);
    if !acting.is_process() {
        return;
    }
    let Some(conn) = conn::mptcp(whole.0) else {
        return;
    };
    // SAFETY: integers in an LRU entry; stale at worst.
    unsafe {
        match new {
            state::SYN_SENT => {
                *conn = NEW;
                (*conn).opener = acting;
            }
            state::ESTABLISHED => {}
            _ if (*conn).closer.is_process() => {}
            _ => (*conn).closer = acting,
        }
    }
}

/// A new socket of a server, which begins as a copy of its listener (`mptcp_sk_clone_init()`): what the map has at its address
/// is another one's.
#[inline(always)]
pub fn whole_cloned(whole: Sock) {
    let _ = MPTCP.remove(whole.0);
}

/// accept() returned this MPTCP socket to the process.
#[inline(always)]
pub fn whole_accepted(whole: u64, opener: Actor) {
    if let Some(conn) = conn::mptcp(whole) {
        // SAFETY: a copy of integers into an LRU entry; stale at worst.
        unsafe { (*conn).opener = opener };
    }
}

/// Gives a subflow the processes that its MPTCP socket has and it lacks. Returns that socket, or 0.
#[inline(always)]
pub fn take_actors(sock: Sock, conn: &mut Conn) -> u64 {
    let whole = sock.mptcp_socket();
    if whole == 0 {
        return 0;
    }
    if let Some(known) = MPTCP.get_ptr(whole) {
        // SAFETY: copies of integers from an LRU entry; stale at worst.
        unsafe {
            if !conn.opener.is_process() {
                conn.opener = (*known).opener;
            }
            if !conn.closer.is_process() {
                conn.closer = (*known).closer;
            }
        }
    }
    whole
}

/// Why a subflow is reset by close() of its MPTCP socket: `__mptcp_close()` does it over unread data, or with SO_LINGER
/// {on, 0}; which of the two it was where both hold, it does not keep. `None`: it is not in close(). The socket is orphaned at
/// close()'s end, so that a worker's RST after that is none of it.
#[inline(always)]
pub fn closed_by_reset(whole: u64) -> Option<ResetReason> {
    let whole = Sock(whole);
    let in_close = whole.shutdown() == SHUT_BOTH && !whole.without_file() && whole.is_released();
    if !in_close {
        return None;
    }
    Some(if whole.lingers_zero() {
        ResetReason::LingerZero
    } else {
        ResetReason::UnreadData
    })
}
