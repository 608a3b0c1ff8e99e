//! Connections that died by a RST before anybody had accepted them.
//!
//! A peer that connects and resets at once is quicker than the server's accept(), on another CPU or after a wait in the
//! listener's queue. The RST is counted and reported as nobody's then; if accept() returns the connection soon after, both
//! are put right. RST and accept() may also come at the same moment: each first leaves what it knows and then looks for
//! what the other one has left, so that at least one of them finds it, and only the one that takes the entry out of the
//! map acts.

use twtrace_wire::{
    ACCEPT_WAIT_NS, EventKind, NO_KERNEL_REASON, ResetDirection, ResetReason, Side, Unattributed,
    flags,
};

use crate::{
    events::emit,
    maps::{UNACCEPTED, atomic::add},
    records::{Actor, BEGUN, Conn, Fact, RST_UNACCEPTED, Unaccepted},
    sockets::{read::now_ns, sock::Sock, traffic::Traffic},
    totals,
};

/// How long before userspace gives up the last accept() may come that is told of.
const MARGIN_NS: u64 = 100_000_000;

/// Whom it is charged to until then.
pub static NOBODY: Actor = Actor::nobody(Unattributed::Unknown);

/// Whether accept() may name the process of a RST that has none.
#[inline(always)]
pub fn may_come(sock: Sock, conn: &Conn, charged: &Actor) -> bool {
    !charged.is_process()
        && charged.key.unattributed == Unattributed::Unknown as u32
        && conn.side == Side::Server as u8
        && conn.flags & BEGUN != 0
        // Further subflows are never accepted.
        && sock.mptcp_socket() == 0
}

/// The RST has been counted and reported as nobody's.
#[inline(always)]
pub fn keep(sock: Sock, conn: *mut Conn, fact: &Fact, traffic: &Traffic) {
    let kept = Unaccepted {
        at_ns: traffic.at_ns,
        state: fact.state as u64,
    };
    // SAFETY: the entry of a live socket, whose flags only its own events write.
    unsafe { (*conn).flags |= RST_UNACCEPTED };
    // A locked instruction of the map's lies between this and the look, too.
    let _ = UNACCEPTED.insert(sock.0, &kept, 0);
    // SAFETY: as above; written by another CPU meanwhile.
    let opener = unsafe { (&raw const (*conn).opener.key.tgid).read_volatile() };
    if opener != 0 {
        put_right(sock.0, conn);
    }
}

/// accept() has written who it is into the connection state.
#[inline(always)]
pub fn accepted(sock: Sock, conn: *mut Conn) {
    // SAFETY: the entry of a live socket. The addition of nothing keeps the processor from looking before it has written.
    let flags = unsafe {
        add(&raw mut (*conn).site, 0);
        (&raw const (*conn).flags).read_volatile()
    };
    if flags & RST_UNACCEPTED != 0 {
        put_right(sock.0, conn);
    }
}

/// The socket goes, and nobody will accept it; what comes at its address is another one.
#[inline(always)]
pub fn destroyed(sock: Sock, conn: *mut Conn, flags: u32) {
    if flags & RST_UNACCEPTED != 0 {
        put_right(sock.0, conn);
    }
}

/// None was received after all.
#[inline(always)]
pub fn taken_back(sock: Sock, flags: u32) {
    if flags & RST_UNACCEPTED != 0 {
        let _ = UNACCEPTED.remove(sock.0);
    }
}

/// Charges the RST to the opener, if there is one, and has userspace wait no longer; unless that is done.
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
    // What went over it, the reset itself has told.
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
    };
    totals::uncount(&fact, conn, &NOBODY);
    fact.flags = flags::ACCEPTED;
    emit::of_socket_with(&fact, sock.0, conn, &conn.opener, &traffic)
}
