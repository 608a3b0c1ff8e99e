//! Creations and refusals that were not seen as they happened: what a socket's last state shows of them.

use twtrace_wire::{BIRTHS_BY_TIMER, BIRTHS_INFERRED, EventKind, NO_KERNEL_REASON, flags};

use super::birth;
use crate::{
    constants::{config, offset},
    events::emit,
    maps::counting,
    mini_sockets::{hashed, kept::keep},
    records::{
        ACTIVE_CLOSE, BORN, BORN_INFERRED, CLOSED, Conn, Fact, NO_BYTES, RST_RECEIVED, RST_SENT,
        UNCOUNTED,
    },
    sockets::{read::read, sock::Sock, state, traffic::Counted},
    totals::{self, count_birth},
};

/// A socket reached CLOSE as if it had left a mini-socket behind, but no creation was seen. If the kernel's table has
/// the mini-socket, our program was skipped or there is none, and this reports what that program would have reported.
/// Otherwise the kernel refused the mini-socket: tcp_time_wait() sets the full socket to CLOSE as soon as the
/// mini-socket is in the table. `from` is 0 if the program of →CLOSE was skipped, too. With an error, which may have ended
/// the connection or have been there before, only the table decides.
#[inline(always)]
pub fn infer(sock: Sock, conn: *mut Conn, from: u8, error: u32) {
    // SAFETY: the caller's entry of a live socket, or its own copy.
    let conn = unsafe { &mut *conn };
    let mini = hashed::mini_of(sock.0);
    if mini != 0 {
        return recover(sock, conn, mini, from);
    }
    if error != 0 {
        return;
    }
    if from == 0 && (hashed::is_readable() || config!(births) != BIRTHS_INFERRED) {
        return;
    }
    if from == state::CLOSING && may_be_disconnect(sock) {
        return;
    }
    conn.flags |= BORN | BORN_INFERRED;
    if !counting::has_begun() {
        conn.flags |= UNCOUNTED;
        return;
    }
    let fact = inferred(sock, from);
    count_birth(sock.netns_key(), is_refused(), true, 1);
    emit::of_socket(&fact, sock.0, conn, &conn.closer);
}

/// Reports a creation that was not seen as it happened.
#[inline(always)]
fn recover(sock: Sock, conn: &mut Conn, mini: u64, from: u8) {
    conn.flags |= BORN;
    birth::expect_none(sock);
    let substate = read(mini, offset!(tw_substate));
    let fact = Fact {
        kind: EventKind::TimeWait,
        state: substate,
        from,
        reason: 0,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
        unread_bytes: NO_BYTES,
    };
    if counting::has_begun() {
        count_birth(sock.netns_key(), false, false, 1);
        emit::of_socket(&fact, sock.0, conn, &conn.closer);
    }
    keep_recovered(sock.0, conn, substate, mini);
}

#[inline(never)]
fn keep_recovered(sock: u64, conn: &Conn, substate: u8, mini: u64) -> u32 {
    let sock = Sock(sock);
    let traffic = sock.traffic(Counted::Sent, conn);
    keep(sock.0, conn, substate, mini, &traffic)
}

/// Takes back what was [inferred](infer): there was neither a creation nor a refusal.
#[inline(always)]
pub fn take_back(sock: Sock, conn: &Conn) {
    let fact = inferred(sock, conn.closed_from);
    count_birth(sock.netns_key(), is_refused(), true, u64::MAX);
    totals::uncount(&fact, conn, &conn.closer);
}

/// Whether a missing mini-socket was refused. Otherwise its creation was not seen, and it may be there.
#[inline(always)]
fn is_refused() -> bool {
    config!(births) == BIRTHS_BY_TIMER || hashed::is_readable()
}

#[inline(always)]
fn inferred(sock: Sock, from: u8) -> Fact {
    // In FIN_WAIT1, data may come with the ACK of the FIN: the kernel takes the socket through FIN_WAIT2 to CLOSE,
    // creates no mini-socket and sends a RST at once. A disconnect before the FIN was sent does the same in CLOSING.
    let is_reset_possible = if from == state::CLOSING {
        sock.owned() && !sock.orphan()
    } else {
        sock.orphan()
    };
    Fact {
        kind: if is_refused() {
            EventKind::TimeWaitOverflow
        } else {
            EventKind::TimeWait
        },
        // An orphan waits for the peer's FIN inside the mini-socket; after the FIN it is in TIME_WAIT proper.
        state: if sock.peer_fin_seen() {
            state::TIME_WAIT
        } else {
            state::FIN_WAIT2
        },
        from,
        reason: 0,
        kernel_reason: NO_KERNEL_REASON,
        flags: if is_reset_possible {
            flags::INFERRED | may_be_data(sock)
        } else {
            flags::INFERRED
        },
        unread_bytes: NO_BYTES,
    }
}

/// The flags of a fact that may turn out to be data after close.
#[inline(always)]
pub fn may_be_data(sock: Sock) -> u16 {
    if sock.owned() {
        flags::MAY_BE_DATA | flags::IN_PROCESS
    } else {
        flags::MAY_BE_DATA
    }
}

/// Whether →CLOSE from `from` leaves a mini-socket behind, as far as states alone show it.
#[inline(always)]
pub fn leaves_mini(sock: Sock, conn: &Conn, from: u8) -> bool {
    if conn.flags & (BORN | CLOSED | RST_SENT | RST_RECEIVED) != 0 {
        return false;
    }
    // The timer of a mini-socket leads to its full socket only if that socket was seen beginning to close.
    if config!(births) == BIRTHS_BY_TIMER && conn.flags & ACTIVE_CLOSE == 0 {
        return false;
    }
    match from {
        state::CLOSING => true,
        // Either the peer's FIN came, or the last descriptor was closed. A disconnect, or a close() over unread data,
        // leaves FIN_WAIT2 too, but before the socket is orphaned and without the FIN.
        state::FIN_WAIT2 => !sock.linger2_negative() && (sock.peer_fin_seen() || sock.orphan()),
        // The program of →CLOSE was skipped; the connection state knows who closed first. The skipped transition may
        // have been a disconnect: where creations have hooks, the kernel's table decides.
        0 => conn.flags & ACTIVE_CLOSE != 0 && (sock.peer_fin_seen() || sock.orphan()),
        _ => false,
    }
}

/// CLOSING → CLOSE by a process that has a descriptor of the socket. Either it works off its backlog, in which the peer
/// acknowledges the FIN (`snd_una == write_seq`): this creates a mini-socket. Or it disconnects, by close() with
/// SO_LINGER {on, 0} or over unread data, or by connect(AF_UNSPEC): this leaves nothing, and as a rule sends no RST
/// (tcp_need_reset()). If its FIN was not even sent, a RST follows and takes back what was inferred.
#[inline(always)]
fn may_be_disconnect(sock: Sock) -> bool {
    sock.owned() && !sock.orphan() && sock.in_flight() != 0
}
