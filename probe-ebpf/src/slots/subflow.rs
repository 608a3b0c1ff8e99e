//! MPTCP: who opened and closed the MPTCP socket of a subflow, and why its close() sends a RST.
//!
//! A process has a descriptor of the MPTCP socket only. Kernel threads close the subflows, or they are closed under
//! `lock_sock_fast()`, which does not mark the socket as owned. Only the first subflow is ever accept()ed; where
//! accept() is seen by its system call, it is seen only under the MPTCP socket.

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

/// A state change of an MPTCP socket itself (protocol 262), which is no connection of its own.
///
/// The current process acts on the socket only under the socket's lock: `__mptcp_subflow_error_report()` also closes it
/// in softirq, while any process may be running.
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

/// A new socket of a server, which begins as a copy of its listener (`mptcp_sk_clone_init()`). Removes what an earlier
/// socket left at its address.
#[inline(always)]
pub fn whole_cloned(whole: Sock) {
    let _ = MPTCP.remove(whole.0);
}

/// accept() returned this MPTCP socket to the process `opener`.
#[inline(always)]
pub fn whole_accepted(whole: u64, opener: Actor) {
    if let Some(conn) = conn::mptcp(whole) {
        // SAFETY: a copy of integers into an LRU entry; stale at worst.
        unsafe { (*conn).opener = opener };
    }
}

/// Gives a subflow the opener and closer of its MPTCP socket where it has none. Returns the MPTCP socket, or 0.
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

/// Why close() of an MPTCP socket resets this subflow: `__mptcp_close()` does so over unread data, or with SO_LINGER
/// {on, 0}; if both hold, the kernel does not record which it was. `None`: the MPTCP socket is not in close(). It is
/// orphaned at the end of close(), so that a worker's later RST is not counted as part of it. `whole` is what
/// [`take_actors`] returned: 0 is no MPTCP socket.
#[inline(always)]
pub fn closed_by_reset(whole: u64) -> Option<ResetReason> {
    if whole == 0 {
        return None;
    }
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
