//! The last socket that was destroyed in this context, if a RST for it may follow.
//!
//! Data after close: tcp_rcv_state_process() has tcp_done() destroy the orphan, and its caller then sends the RST
//! through the destroyed socket (net/ipv4/tcp_input.c, tcp_ipv4.c). In softirq, bottom halves are off from the first
//! step to the second: nothing else runs on that CPU, and one entry per CPU is enough. A process that works off its
//! socket's backlog in close() does both with bottom halves on (__release_sock() unlocks them). Softirq may then
//! destroy other sockets on that CPU in between, and the process may be preempted, so its entry is kept by thread. The
//! socket shows which case it is: in the second it is owned, at both moments.
//!
//! The next socket destroyed in the same context replaces the entry, whether or not a RST may follow for it. The
//! connection is compared as well, so that an entry whose RST never came is not used for another socket at its address.
//! The connection state records in [`RST_SENT_TURNS`](crate::records::RST_SENT_TURNS) which of the two programs has
//! reported a RST.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use crate::{
    maps::{RECENT, RECENT_OF_THREADS},
    records::{Conn, NO_RECENT, Recent},
    sockets::{sock::Sock, tuple::tuple_key},
};

/// The entry of the current context: of the CPU, or of the thread.
#[inline(always)]
fn entry(sock: Sock) -> Option<*mut Recent> {
    if sock.owned() {
        RECENT_OF_THREADS.get_ptr_mut(bpf_get_current_pid_tgid())
    } else {
        RECENT.get_ptr_mut(0)
    }
}

/// Keeps what is known of a socket that is being destroyed.
#[inline(always)]
pub fn keep(sock: Sock, conn: &Conn) {
    if sock.owned() {
        let _ = RECENT_OF_THREADS.insert(bpf_get_current_pid_tgid(), &NO_RECENT, 0);
    }
    if let Some(recent) = entry(sock) {
        // SAFETY: a per-CPU slot, or the entry of this thread; integers.
        unsafe {
            *recent = Recent {
                sock: sock.0,
                tuple: tuple_key(sock, sock.source_port()),
                conn: *conn,
            };
        }
    }
}

/// A socket is being destroyed: drops the socket destroyed before it, which sends nothing any more. Keeps the entry if
/// it is of this socket: the hook's other program may have written it.
#[inline(always)]
pub fn forget_others(sock: Sock) {
    if let Some(recent) = entry(sock) {
        // SAFETY: as above.
        unsafe {
            if (*recent).sock != sock.0 {
                (*recent).sock = 0;
            }
        }
    }
}

/// What was known of a socket that has just been destroyed in this context.
#[inline(always)]
pub fn find(sock: Sock) -> Option<*mut Conn> {
    let recent = entry(sock)?;
    // SAFETY: as above.
    unsafe {
        if (*recent).sock != sock.0 || (*recent).tuple != tuple_key(sock, sock.source_port()) {
            return None;
        }
        Some(&raw mut (*recent).conn)
    }
}
