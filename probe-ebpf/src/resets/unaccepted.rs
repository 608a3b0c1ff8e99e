//! Connections that a RST ended before any process had accepted them.
//!
//! A peer that connects and resets at once is faster than the server's accept(), which runs on another CPU or after a
//! wait in the listener's queue. The RST is then counted and reported without a process. If accept() returns the
//! connection soon after, both are corrected. RST and accept() may also come at the same moment: each first writes what
//! it knows and then reads what the other one has written. So at least one of them finds the other's data, and only the
//! one that removes the map entry acts.

use twtrace_wire::{
    ACCEPT_WAIT_NS, EventKind, NO_KERNEL_REASON, ResetDirection, ResetReason, Side, Unattributed,
    flags,
};

use crate::{
    events::emit,
    maps::{UNACCEPTED, atomic::add},
    records::{Actor, BEGUN, Conn, Fact, NO_BYTES, NOBODY, RST_UNACCEPTED, Unaccepted},
    sockets::{read::now_ns, sock::Sock, traffic::Traffic},
    totals,
};

/// An accept() is reported only if it comes at least this long before userspace stops waiting for it.
const MARGIN_NS: u64 = 100_000_000;

/// Whether accept() may still name the process of a RST that has none.
#[inline(always)]
pub fn may_come(sock: Sock, conn: &Conn, charged: &Actor) -> bool {
    !charged.is_process()
        && charged.key.unattributed == Unattributed::Unknown as u32
        && conn.side == Side::Server as u8
        && conn.flags & BEGUN != 0
        // Further subflows are never accepted.
        && sock.mptcp_socket() == 0
}

/// Keeps a RST that was counted and reported without a process.
#[inline(always)]
pub fn keep(sock: Sock, conn: *mut Conn, fact: &Fact, traffic: &Traffic) {
    let kept = Unaccepted {
        at_ns: traffic.at_ns,
        state: fact.state as u64,
    };
    // SAFETY: the entry of a live socket, whose flags only its own events write.
    unsafe { (*conn).flags |= RST_UNACCEPTED };
    // The map's insertion has a locked instruction, which also orders the write above before the read below.
    let _ = UNACCEPTED.insert(sock.0, &kept, 0);
    // SAFETY: as above; another CPU may write it at the same time.
    let opener = unsafe { (&raw const (*conn).opener.key.tgid).read_volatile() };
    if opener != 0 {
        put_right(sock.0, conn);
    }
}

/// accept() has written its process into the connection state.
#[inline(always)]
pub fn accepted(sock: Sock, conn: *mut Conn) {
    // SAFETY: the entry of a live socket. Adding 0 keeps the processor from reading before its writes are visible.
    let flags = unsafe {
        add(&raw mut (*conn).site, 0);
        (&raw const (*conn).flags).read_volatile()
    };
    if flags & RST_UNACCEPTED != 0 {
        put_right(sock.0, conn);
    }
}

/// The socket goes away, and no process will accept it. Another socket may get its address.
#[inline(always)]
pub fn destroyed(sock: Sock, conn: *mut Conn, flags: u32) {
    if flags & RST_UNACCEPTED != 0 {
        put_right(sock.0, conn);
    }
}

/// No RST was received after all: removes the entry.
#[inline(always)]
pub fn taken_back(sock: Sock, flags: u32) {
    if flags & RST_UNACCEPTED != 0 {
        let _ = UNACCEPTED.remove(sock.0);
    }
}

/// Charges the RST to the opener, if there is one, and ends userspace's wait. Does nothing if that was done before.
#[inline(never)]
fn put_right(sock: u64, conn: *mut Conn) -> u32 {
    let sock = Sock(sock);
    let Some(kept) = UNACCEPTED.get_ptr(sock.0) else {
        return 0;
    };
    // SAFETY: integers in an LRU entry; the entry is this socket's if it can be taken out.
    let (at_ns, state) = unsafe { ((*kept).at_ns, (*kept).state as u8) };
    if UNACCEPTED.remove(sock.0).is_err() {
        return 0;
    }
    if now_ns().wrapping_sub(at_ns) > ACCEPT_WAIT_NS - MARGIN_NS {
        return 0;
    }
    // The event of the reset has reported the traffic.
    let traffic = Traffic::unmeasured(at_ns);
    // SAFETY: the entry of a live socket.
    let conn = unsafe { &*conn };
    let mut fact = Fact {
        kind: EventKind::Reset,
        state,
        from: ResetDirection::Received as u8,
        reason: ResetReason::Peer as u8,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
        unread_bytes: NO_BYTES,
    };
    totals::uncount(&fact, conn, &NOBODY);
    fact.flags = flags::ACCEPTED;
    emit::of_socket_with(&fact, sock.0, conn, &conn.opener, &traffic)
}
