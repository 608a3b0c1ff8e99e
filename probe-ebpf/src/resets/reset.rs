//! RSTs sent and received, and why.

use twtrace_wire::{
    EventKind, NO_KERNEL_REASON, NO_SITE, ResetDirection, ResetReason, Side, Unattributed, flags,
};

use crate::{
    constants::offset,
    events::emit::{self, Addresses},
    maps::{SEGMENT_TURNS, counting, lost},
    mini_sockets::{age, kept},
    processes::process::{actor, answerable},
    records::{
        BORN_INFERRED, CLOSED_BY_OTHER, Conn, Fact, NO_BYTES, NOBODY, Program, RST_MAY_BE_DATA,
        RST_RECEIVED, RST_RECEIVED_TURNS, RST_SENT, RST_SENT_TURNS, UNCOUNTED,
    },
    resets::unaccepted,
    slots::{conn, recent, subflow},
    sockets::{
        read::read,
        segment::{TCP_RST, TCP_SYN, header_flags, payload_bytes},
        sock::{SHUT_BOTH, Sock},
        state, traffic,
    },
    time_wait::inferred,
    totals,
};

/// `SK_RST_REASON_TCP_ABORT_ON_CLOSE` (include/net/rstreason.h, 6.10 on): data was unread at close().
const ABORT_ON_CLOSE: u8 = 11;

/// `RCV_SHUTDOWN` (include/net/sock.h): nothing more is received.
const SHUT_RECEIVE: u8 = 1;

/// `tcp_send_reset(sk, skb[, reason])`.
#[inline(always)]
pub fn sent(sock: u64, skb: u64, kernel_reason: u8) {
    seen(sock, skb, kernel_reason, Program::First);
}

/// The same RST, in the second program: handles what the first program missed.
#[inline(always)]
pub fn sent_again(sock: u64, skb: u64, kernel_reason: u8) {
    seen(sock, skb, kernel_reason, Program::Second);
}

#[inline(always)]
fn seen(sock: u64, skb: u64, kernel_reason: u8, program: Program) {
    if !counting::is_following() {
        return;
    }
    if skb == 0 {
        return active(Sock(sock), kernel_reason, program);
    }
    let full = Sock(sock);
    let now = if sock == 0 { 0 } else { full.state() };
    let has_no_conn = matches!(
        now,
        0 | state::TIME_WAIT | state::NEW_SYN_RECV | state::LISTEN
    );
    if !has_no_conn {
        return answered(full, now, skb, kernel_reason, program);
    }
    if is_reported(skb, program) {
        return;
    }
    match now {
        0 => no_socket(skb, kernel_reason),
        state::TIME_WAIT => answered_by_mini(full, skb, kernel_reason),
        _ => no_connection(full, skb, kernel_reason),
    }
}

/// Whether the other program has reported the answer to this segment, for which there is no connection state to record
/// it.
#[inline(always)]
fn is_reported(skb: u64, program: Program) -> bool {
    if let Some(turns) = SEGMENT_TURNS.get_ptr_mut(skb) {
        // SAFETY: an integer in an LRU entry; it is this segment's while the segment is answered.
        let is_reported = unsafe { RST_SENT_TURNS.is_reported(&mut *turns, program) };
        if is_reported {
            let _ = SEGMENT_TURNS.remove(skb);
        }
        return is_reported;
    }
    let mut turns = 0;
    RST_SENT_TURNS.is_reported(&mut turns, program);
    let _ = SEGMENT_TURNS.insert(skb, turns, 0);
    false
}

/// `tcp_v4_send_reset(sk, skb)` and `tcp_v6_send_reset(sk, skb)`, for kernels whose tracepoint fires only if `sk` is a
/// full socket (to 6.1). A RST is never answered.
#[inline(always)]
pub fn sent_without_full_socket(sock: u64, skb: u64) {
    if skb == 0 || header_flags(skb) & TCP_RST != 0 {
        return;
    }
    if sock == 0 {
        return no_socket(skb, NO_KERNEL_REASON);
    }
    let sock = Sock(sock);
    match sock.state() {
        state::TIME_WAIT => answered_by_mini(sock, skb, NO_KERNEL_REASON),
        state::NEW_SYN_RECV => no_connection(sock, skb, NO_KERNEL_REASON),
        _ => {}
    }
}

#[inline(always)]
fn fact(direction: ResetDirection, reason: ResetReason, kernel_reason: u8, before: u8) -> Fact {
    Fact {
        kind: EventKind::Reset,
        state: before,
        from: direction as u8,
        reason: reason as u8,
        kernel_reason,
        flags: 0,
        unread_bytes: NO_BYTES,
    }
}

#[inline(always)]
fn received_fact(reason: ResetReason, before: u8) -> Fact {
    fact(ResetDirection::Received, reason, NO_KERNEL_REASON, before)
}

/// tcp_send_active_reset(): a RST that answers no segment. A disconnect sets CLOSE first; timers and tcp_abort() send
/// the RST first.
#[inline(always)]
fn active(sock: Sock, kernel_reason: u8, program: Program) {
    let now = sock.state();
    let Some(conn) = conn::in_state(sock, now) else {
        return;
    };
    // SAFETY: the entry of a live socket.
    let conn = unsafe { &mut *conn };
    if RST_SENT_TURNS.is_reported(&mut conn.flags, program) {
        return;
    }
    conn.flags |= RST_SENT;
    // What was counted before names the process that was known then.
    let replaces = take_back(sock, conn);
    let is_closed = now == state::CLOSE;
    let before = if is_closed { conn.closed_from } else { now };
    // A disconnect after shutdown() also has both directions shut.
    let closing = is_closed && sock.shutdown() == SHUT_BOTH && sock.is_released();
    let whole = subflow::take_actors(sock, conn);
    let of_whole = subflow::closed_by_reset(whole);
    // Subflows are reset under a lock that does not mark them as owned, and before CLOSE. Their MPTCP socket is owned.
    let acted_on = if whole == 0 { sock } else { Sock(whole) };
    let is_disconnect = is_closed || whole != 0 && acted_on.state() == state::CLOSE;
    if (is_disconnect || of_whole.is_some()) && acted_on.owned() {
        disconnected(sock.0, conn);
    }
    let reason = if let Some(reason) = of_whole {
        reason
    } else if is_closed && (kernel_reason == ABORT_ON_CLOSE || closing && sock.has_unread_bytes()) {
        ResetReason::UnreadData
    } else if closing && sock.lingers_zero() {
        ResetReason::LingerZero
    } else if is_closed || sock.owned() {
        ResetReason::Aborted
    } else {
        ResetReason::Timeout
    };
    let mut fact = fact(ResetDirection::Sent, reason, kernel_reason, before);
    fact.flags = replaces;
    if matches!(reason, ResetReason::UnreadData) && whole == 0 {
        fact.unread_bytes = sock.unread_bytes();
    }
    emit::of_socket(&fact, sock.0, conn, answerable(conn));
}

/// The current process disconnects, by close() or connect(AF_UNSPEC), and sends a RST. Another one with the same socket
/// may have shut it down before. A function with a stack of its own, as callers have no room for another process on
/// theirs.
#[inline(never)]
fn disconnected(sock: u64, conn: &mut Conn) -> u32 {
    let acting = actor(Sock(sock));
    if acting.is_process() && !conn.closer.is_of(&acting.key) {
        conn.closer = acting;
        conn.site = NO_SITE;
    }
    0
}

/// A full socket answers a segment. After data that came too late it is already in CLOSE, and destroyed if no
/// descriptor is left.
#[inline(always)]
fn answered(sock: Sock, now: u8, skb: u64, kernel_reason: u8, program: Program) {
    if now == state::CLOSE {
        if let Some(conn) = conn::find(sock.0) {
            // SAFETY: the entry of a live socket.
            let conn = unsafe { &mut *conn };
            return too_late(sock, conn, skb, kernel_reason, program);
        }
        if let Some(conn) = recent::find(sock) {
            // SAFETY: a per-CPU slot, or the entry of this thread.
            let conn = unsafe { &mut *conn };
            return too_late(sock, conn, skb, kernel_reason, program);
        }
        // For example, a listener that has just closed: it must not get a connection state now.
        if !is_reported(skb, program) {
            let (side, why) = if lost::were_full() {
                (Side::Unknown, Unattributed::Lost)
            } else {
                (Side::Server, Unattributed::Unknown)
            };
            without_conn(sock, skb, kernel_reason, side, why);
        }
        return;
    }
    let Some(conn) = conn::in_state(sock, now) else {
        return;
    };
    // SAFETY: the entry of a live socket.
    let conn = unsafe { &mut *conn };
    if RST_SENT_TURNS.is_reported(&mut conn.flags, program) {
        return;
    }
    // RST_SENT is not set: the connection lives on. In SYN_SENT, for example, the RST answers an acknowledgment of what
    // another connection of this tuple sent (tcp_rcv_synsent_state_process).
    let fact = fact(ResetDirection::Sent, ResetReason::Other, kernel_reason, now);
    emit::of_socket(&fact, sock.0, conn, answerable(conn));
}

#[inline(always)]
fn too_late(sock: Sock, conn: &mut Conn, skb: u64, kernel_reason: u8, program: Program) {
    if RST_SENT_TURNS.is_reported(&mut conn.flags, program) {
        return;
    }
    conn.flags |= RST_SENT;
    let before = conn.closed_from;
    let late = before == state::FIN_WAIT1 || before == state::FIN_WAIT2 || before == 0;
    let reason = if before == state::FIN_WAIT2 && sock.linger2_negative() && sock.orphan() {
        // Such an orphan does not stay in FIN_WAIT2: the FIN's acknowledgment is answered (tcp_rcv_state_process()).
        ResetReason::Aborted
    } else if late {
        ResetReason::DataAfterClose
    } else {
        ResetReason::Other
    };
    let mut fact = fact(ResetDirection::Sent, reason, kernel_reason, before);
    fact.flags = take_back(sock, conn);
    if matches!(reason, ResetReason::DataAfterClose) {
        fact.unread_bytes = payload_bytes(skb);
    }
    // After the FIN alone, data is still accepted. It is too late once the other direction is shut as well, which changes
    // no state: another process may have done that.
    let is_by_other = conn.flags & CLOSED_BY_OTHER != 0 || conn.closed_ns == 0;
    let charged = if late && is_by_other {
        &NOBODY
    } else {
        answerable(conn)
    };
    emit::of_socket(&fact, sock.0, conn, charged);
}

/// A RST of a socket in CLOSE means that there was no mini-socket; and that no RST was received, if that one may have
/// been data. Takes back what was counted, and returns the event's flags.
#[inline(always)]
fn take_back(sock: Sock, conn: &mut Conn) -> u16 {
    if conn.flags & UNCOUNTED != 0 {
        conn.flags &= !(UNCOUNTED | BORN_INFERRED | RST_MAY_BE_DATA);
        return 0;
    }
    if conn.flags & BORN_INFERRED != 0 {
        conn.flags &= !BORN_INFERRED;
        inferred::take_back(sock, conn);
    } else if conn.flags & RST_MAY_BE_DATA != 0 {
        conn.flags &= !RST_MAY_BE_DATA;
        unaccepted::taken_back(sock, conn.flags);
        let fact = received_fact(ResetReason::Peer, 0);
        totals::uncount(&fact, conn, answerable(conn));
    } else {
        return 0;
    }
    flags::REPLACES
}

/// The mini-socket answers data (the process has closed), or a SYN in FIN_WAIT2 (tcp_timewait_state_process).
#[inline(always)]
fn answered_by_mini(mini: Sock, skb: u64, kernel_reason: u8) {
    let reason = if header_flags(skb) & TCP_SYN != 0 {
        ResetReason::TimeWait
    } else {
        ResetReason::DataAfterClose
    };
    let substate: u8 = read(mini.0, offset!(tw_substate));
    let mut fact = fact(ResetDirection::Sent, reason, kernel_reason, substate);
    if matches!(reason, ResetReason::DataAfterClose) {
        fact.unread_bytes = payload_bytes(skb);
    }
    if let Some(kept) = kept::mini_conn(mini) {
        emit::of_mini(&fact, mini.0, kept);
        return;
    }
    let why = age::stranger_reason(mini);
    emit::of_nobody(&fact, Addresses::Sock(mini.0), Side::Unknown, why);
}

/// A listener or a half-open request answers: there is no connection (any more). The listener's owner is charged.
#[inline(always)]
fn no_connection(sock: Sock, skb: u64, kernel_reason: u8) {
    without_conn(
        sock,
        skb,
        kernel_reason,
        Side::Server,
        Unattributed::Unknown,
    );
}

/// A socket answers that has no connection state. Unless connection states were lost, it is a server's.
#[inline(always)]
fn without_conn(sock: Sock, skb: u64, kernel_reason: u8, side: Side, why: Unattributed) {
    let fact = fact(
        ResetDirection::Sent,
        ResetReason::Other,
        kernel_reason,
        sock.state(),
    );
    emit::of_nobody(&fact, Addresses::Segment { skb, sock: sock.0 }, side, why);
}

/// There is no listener, or the connection ended long ago: the segment is the only source.
#[inline(always)]
fn no_socket(skb: u64, kernel_reason: u8) {
    let fact = fact(
        ResetDirection::Sent,
        ResetReason::NoSocket,
        kernel_reason,
        state::CLOSE,
    );
    emit::of_nobody(
        &fact,
        Addresses::Segment { skb, sock: 0 },
        Side::Unknown,
        Unattributed::NoSocket,
    );
}

/// `tcp_receive_reset(sk)`: comes before →CLOSE, so that the socket is still in the state that the RST met.
#[inline(always)]
pub fn received(sock: Sock, program: Program) {
    let now = sock.state();
    if now == state::CLOSE {
        return;
    }
    let Some(conn) = conn::in_state(sock, now) else {
        return;
    };
    // SAFETY: the entry of a live socket.
    let conn = unsafe { &mut *conn };
    if RST_RECEIVED_TURNS.is_reported(&mut conn.flags, program) {
        return;
    }
    conn.flags |= RST_RECEIVED;
    subflow::take_actors(sock, conn);
    let reason = if now == state::SYN_SENT {
        ResetReason::Refused
    } else {
        ResetReason::Peer
    };
    let mut fact = received_fact(reason, now);
    // tcp_rcv_state_process() also calls tcp_reset() for data after close and for data after the peer's FIN.
    let takes_no_data = !matches!(now, state::SYN_SENT | state::SYN_RECV | state::ESTABLISHED);
    if takes_no_data && sock.shutdown() & SHUT_RECEIVE != 0 {
        fact.flags = inferred::may_be_data(sock);
        conn.flags |= RST_MAY_BE_DATA;
    }
    if !counting::has_begun() {
        conn.flags |= UNCOUNTED;
        return;
    }
    let mut charged = answerable(conn);
    let awaits_accept = unaccepted::may_come(sock, conn, charged);
    if awaits_accept {
        fact.flags |= flags::AWAITS_ACCEPT;
        // A process may accept it at this moment: what is counted now is corrected later.
        charged = &NOBODY;
    }
    let traffic = sock.traffic(traffic::counted(&fact), conn);
    emit::of_socket_with(&fact, sock.0, conn, charged, &traffic);
    if awaits_accept {
        unaccepted::keep(sock, conn, &fact, &traffic);
    }
}
