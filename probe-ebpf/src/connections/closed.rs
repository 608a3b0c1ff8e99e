//! Ends of connections: who ended them and how, and what is removed with their sockets.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use twtrace_wire::{AbortReason, EventKind, NO_KERNEL_REASON, Probe, Unattributed};

use crate::{
    events::emit,
    maps::{LISTENER_CLOSERS, counting, lost},
    ports::uncalled,
    processes::{
        process::{actor, answerable},
        stack::{self, Ctx},
    },
    records::{
        ACTIVE_CLOSE, BEGUN, BORN, BORN_INFERRED, CLOSED, CLOSED_BY_SECOND, CLOSED_BY_WORKER, Conn,
        Fact, NO_BYTES, Program, RST_MAY_BE_DATA, RST_RECEIVED, RST_SENT,
    },
    resets::unaccepted,
    slots::{conn, listener, recent, subflow},
    sockets::{
        sock::{ECONNABORTED, ECONNRESET, EPIPE, ETIMEDOUT, Sock},
        state,
    },
    time_wait::{birth, inferred},
    totals,
};

/// Records the acting process as the closer, or that a kernel thread acts for one that is not known.
#[inline(always)]
pub fn set_closer(sock: Sock, conn: &mut Conn) {
    conn.closer = actor(sock);
    if !conn.closer.is_process() && conn.closer.key.unattributed == Unattributed::Unknown as u32 {
        conn.flags |= CLOSED_BY_WORKER;
    }
}

/// A transition from any state to CLOSE.
#[inline(always)]
pub fn closed(ctx: Ctx, sock: Sock, old: u8, program: Program) {
    if old == state::LISTEN {
        if !counting::is_following() {
            return;
        }
        let thread = bpf_get_current_pid_tgid();
        let _ = LISTENER_CLOSERS.insert(thread, sock.0, 0);
        listener::closed(sock);
        return;
    }
    if program == Program::First && closed_by_second(sock, old) {
        return;
    }
    if let Some(conn) = conn::in_state(sock, old) {
        finish(ctx, sock, conn, old);
        if program == Program::Second {
            // SAFETY: the entry of a live socket.
            unsafe { (*conn).flags |= CLOSED_BY_SECOND };
        }
    }
}

/// Whether the second program has handled this →CLOSE before the first: see [`Turns`](crate::records::Turns).
#[inline(always)]
fn closed_by_second(sock: Sock, old: u8) -> bool {
    let Some(conn) = conn::find(sock.0) else {
        return false;
    };
    // SAFETY: the entry of a live socket.
    unsafe {
        let is_closed = (*conn).flags & CLOSED_BY_SECOND != 0 && (*conn).closed_from == old;
        (*conn).flags &= !CLOSED_BY_SECOND;
        is_closed
    }
}

/// Handles →CLOSE; or what is left of it at `tcp_destroy_sock` (`old` 0), if the kernel skipped the program that should
/// have seen it.
#[inline(always)]
fn finish(ctx: Ctx, sock: Sock, conn: *mut Conn, old: u8) {
    // SAFETY: the entry of a live socket.
    let known = unsafe { &mut *conn };
    uncalled::closed(ctx, sock, known, old != 0);
    if matches!(old, state::ESTABLISHED | state::CLOSE_WAIT) && counting::has_begun() {
        totals::add_connection_reset(sock.net());
    }
    let error = fatal_error(sock, old);
    let reset = known.flags & (RST_SENT | RST_RECEIVED) != 0;
    if !known.closer.is_process() && error == 0 && !reset && old != 0 {
        set_last_closer(ctx, sock, known, old);
    }
    if inferred::leaves_mini(sock, known, old) {
        inferred::infer(sock, conn, old, error);
    }
    known.closed_from = old;
    known.flags |= CLOSED;
    if error != 0 && !reset && known.flags & BORN == 0 {
        if known.flags & BEGUN == 0 && lost::were_full() {
            // Its state found no room before: the RST that set the error may have been missed.
            return lost::count_lost(Probe::Abort);
        }
        subflow::take_actors(sock, known);
        let reason = match error {
            ETIMEDOUT => AbortReason::Timeout,
            ECONNABORTED => AbortReason::Destroyed,
            _ => AbortReason::Other,
        };
        abort(sock, known, old, reason);
    } else if old == state::SYN_SENT && gives_up(sock, error, reset) {
        abort(sock, known, old, AbortReason::Unanswered);
    }
}

/// Whether a process closes a socket whose SYN nobody has answered: the kernel has sent it again, after the first timeout
/// (TCP_TIMEOUT_INIT, a second). Earlier it may not want the connection any more, as clients that try several addresses at once.
/// A connect() that fails for lack of a port comes here too, before a SYN.
#[inline(always)]
fn gives_up(sock: Sock, error: u32, reset: bool) -> bool {
    error == 0 && !reset && sock.owned() && sock.has_retransmitted()
}

/// The error that ended a connection, or 0. A process that disconnects sets none before CLOSE: what is there then was left
/// by something earlier, such as an ICMP message (IP_RECVERR), and not read yet. Under the socket's lock only tcp_abort()
/// and a RST in its backlog end a connection by an error, and these have errors of their own.
#[inline(always)]
fn fatal_error(sock: Sock, old: u8) -> u32 {
    let error = sock.error();
    let is_open = !matches!(old, 0 | state::SYN_SENT | state::SYN_RECV);
    let is_earlier = !matches!(error, ECONNABORTED | ECONNRESET | EPIPE | ETIMEDOUT);
    if is_open && is_earlier && sock.owned() {
        return 0;
    }
    error
}

/// A connection that changes from an open state straight to CLOSE without an error is being disconnected by the running
/// process: linger 0, unread data, connect(AF_UNSPEC). Or it is a queued child of a listener that this thread is
/// closing (inet_csk_listen_stop; the child itself is not owned then).
#[inline(always)]
fn set_last_closer(ctx: Ctx, sock: Sock, conn: &mut Conn, old: u8) {
    match old {
        state::ESTABLISHED
        | state::SYN_RECV
        | state::CLOSE_WAIT
        | state::FIN_WAIT1
        | state::FIN_WAIT2 => {}
        _ => return,
    }
    let stranger = conn.closer.key.unattributed == Unattributed::ClosedBeforeTracing as u32;
    if stranger {
        return;
    }
    if sock.owned() {
        set_closer(sock, conn);
    } else if sock.without_file() && is_of_closing_listener(sock) {
        conn.closer = actor(sock);
    } else {
        return;
    }
    conn.site = stack::site(ctx, &conn.closer);
}

/// Whether a child was in the queue of the listener that this thread is closing: it holds that listener's lock until the
/// queue is empty (inet_csk_listen_stop). A listener that was only shut down stays, and so does its entry.
#[inline(always)]
fn is_of_closing_listener(child: Sock) -> bool {
    let Some(listener) = LISTENER_CLOSERS.get_ptr(bpf_get_current_pid_tgid()) else {
        return false;
    };
    // SAFETY: an integer in an LRU entry that only this thread writes.
    let listener = Sock(unsafe { *listener });
    listener.owned()
        && listener.state() == state::CLOSE
        && listener.net() == child.net()
        && listener.source_port() == child.source_port()
}

#[inline(always)]
fn abort(sock: Sock, conn: &Conn, from: u8, reason: AbortReason) {
    let fact = Fact {
        kind: EventKind::Abort,
        state: from,
        from: 0,
        reason: reason as u8,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
        unread_bytes: NO_BYTES,
    };
    emit::of_socket(&fact, sock.0, conn, answerable(conn));
}

/// `tcp_destroy_sock(sk)`: the socket ends. This is the second chance for a →CLOSE that was missed: an interrupt in the
/// middle of the transition's program lets softirq run TCP, whose transitions then meet the same program on that CPU
/// and are skipped. This is another program.
#[inline(always)]
pub fn destroyed(ctx: Ctx, sock: Sock) {
    recent::forget_others(sock);
    let Some(conn) = conn::find(sock.0) else {
        conn::forget(sock.0);
        listener_destroyed(sock);
        return;
    };
    // SAFETY: the entry of a socket that is being destroyed once.
    let flags = unsafe {
        if (*conn).flags & CLOSED == 0 {
            finish(ctx, sock, conn, 0);
        }
        (*conn).flags
    };
    let leaves_nothing = flags & BORN == 0 || flags & BORN_INFERRED != 0;
    let is_active = flags & ACTIVE_CLOSE != 0;
    if is_active && leaves_nothing {
        birth::expect_none(sock);
    }
    // The RST for data after close is still to come.
    let may_answer = is_active && flags & RST_RECEIVED == 0 || flags & RST_MAY_BE_DATA != 0;
    if leaves_nothing && may_answer && flags & RST_SENT == 0 {
        // SAFETY: as above.
        recent::keep(sock, unsafe { &*conn });
    }
    unaccepted::destroyed(sock, conn, flags);
    conn::forget(sock.0);
}

/// The queue of a listener is empty when it is destroyed. A child also has no connection state left, if the second
/// program ran before the first.
#[inline(always)]
fn listener_destroyed(sock: Sock) {
    let thread = bpf_get_current_pid_tgid();
    if let Some(listener) = LISTENER_CLOSERS.get_ptr(thread) {
        // SAFETY: an integer in an LRU entry that only this thread writes.
        if unsafe { *listener } == sock.0 {
            let _ = LISTENER_CLOSERS.remove(thread);
        }
    }
}

/// `tcp_destroy_sock(sk)`, in the second program: a connection state that is left was missed by the first one.
#[inline(always)]
pub fn destroyed_again(ctx: Ctx, sock: Sock) {
    if conn::find(sock.0).is_some() {
        destroyed(ctx, sock);
    }
}
