//! State transitions: the openers' and closers' moments, and how each connection ended.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use twtrace_wire::{AbortReason, EventKind, NO_KERNEL_REASON, Side, Unattributed};

use crate::{
    constants::config,
    events::emit,
    maps::{LISTENER_CLOSERS, counting},
    ports::{syscall, uncalled},
    processes::{
        process::{actor, answerable},
        stack::{self, Ctx},
    },
    records::{
        ACTIVE_CLOSE, Actor, BEGUN, BORN, BORN_INFERRED, CLOSED, CLOSED_BY_SECOND, Conn, Fact, NEW,
        Program, RST_MAY_BE_DATA, RST_RECEIVED, RST_SENT,
    },
    resets::unaccepted,
    slots::{conn, existing, listener, recent, subflow},
    sockets::{
        read::now_ns,
        sock::{ECONNABORTED, ETIMEDOUT, IPPROTO_MPTCP, IPPROTO_TCP, SHUT_BOTH, Sock},
        state,
    },
    time_wait::{birth, inferred, timer},
    totals,
};

/// `inet_sock_set_state(sk, oldstate, newstate)`. Where the [second program](transition_again) was first, all but →CLOSE
/// sets what is set.
#[inline(always)]
pub fn transition(ctx: Ctx, sock: Sock, old: u8, new: u8, program: Program) {
    if !is_watched(old, new) {
        return unwatched(sock, old);
    }
    match sock.protocol() {
        IPPROTO_TCP => {}
        IPPROTO_MPTCP => return subflow::whole_transition(sock, old, new),
        _ => return,
    }
    match new {
        _ if old == new => closed_after_shutdown(sock),
        state::SYN_SENT => connecting(sock),
        state::ESTABLISHED => established(sock, old),
        state::FIN_WAIT1 => closing(ctx, sock, old, true),
        state::LAST_ACK => closing(ctx, sock, old, false),
        state::LISTEN => listening(sock),
        _ => closed(ctx, sock, old, program),
    }
}

/// The same transition, in another program: does what the first one was kept from doing.
///
/// Where tracepoints can be preempted (seen on 7.3), a task that is preempted in the middle of the first
/// program leaves it marked as running on that CPU, and the kernel skips it for every transition that
/// other tasks make meanwhile: FIN_WAIT1 with its closer, above all. Under the crowd's load a second raw
/// program left 2 closers of 12,000 unknown and a third one 3 of 8,000: all of them can be preempted at
/// once. A classic tracepoint's program can't be, and comes last.
#[inline(always)]
pub fn transition_again(ctx: Ctx, sock: Sock, old: u8, new: u8) {
    if !is_watched(old, new) {
        return unwatched(sock, old);
    }
    if old == new {
        // Sets what is set.
        return transition(ctx, sock, old, new, Program::Second);
    }
    let conn = if new == state::CLOSE {
        conn::find(sock.0)
    } else {
        conn::alive(sock)
    };
    if let Some(conn) = conn {
        // SAFETY: the entry of a live socket; a copy of integers.
        let (flags, established, opened, closed) = unsafe {
            (
                (*conn).flags,
                (*conn).established_ns != 0,
                (*conn).opener.tid == bpf_get_current_pid_tgid() as u32,
                (*conn).closer.is_process(),
            )
        };
        let done = match new {
            state::SYN_SENT => opened && !established,
            // SAFETY: as above.
            state::ESTABLISHED => unsafe { is_established(&*conn, sock.hash()) },
            state::FIN_WAIT1 => flags & ACTIVE_CLOSE != 0,
            state::LAST_ACK => closed,
            _ => flags & CLOSED != 0,
        };
        if done {
            return;
        }
    }
    transition(ctx, sock, old, new, Program::Second);
}

/// Whether a transition says anything about the connection's actors or its end.
#[inline(always)]
fn is_watched(old: u8, new: u8) -> bool {
    if old == new {
        // close() after shutdown() repeats these; a listener's abort repeats CLOSE.
        return matches!(new, state::FIN_WAIT1 | state::FIN_WAIT2);
    }
    matches!(
        new,
        state::SYN_SENT
            | state::ESTABLISHED
            | state::FIN_WAIT1
            | state::LAST_ACK
            | state::LISTEN
            | state::CLOSE
    )
}

/// A connection's child begins as a copy of its listener.
#[inline(always)]
fn unwatched(sock: Sock, old: u8) {
    if old == state::LISTEN && sock.protocol() == IPPROTO_MPTCP {
        subflow::whole_cloned(sock);
    }
}

/// connect(): in process context, by the opener.
#[inline(always)]
fn connecting(sock: Sock) {
    let is_uncalled = config!(ports_by_syscall) != 0 && !syscall::connect_began(sock);
    let is_counted = is_uncalled && uncalled::is_counted(sock);
    if let Some(conn) = conn::begin_anew(sock.0) {
        // SAFETY: the entry of a live socket.
        unsafe {
            (*conn).side = Side::Client as u8;
            (*conn).flags = BEGUN;
            (*conn).opener = actor(sock);
            if is_uncalled {
                uncalled::began(sock, conn, is_counted);
            }
        }
    }
}

/// listen(): in process context.
#[inline(always)]
fn listening(sock: Sock) {
    listener::opened(sock);
    if config!(ports_by_syscall) != 0 {
        syscall::listen_began(sock);
    }
}

/// Softirq or backlog; the process is whoever happens to run. A server's accept() may have been here before.
#[inline(always)]
fn established(sock: Sock, old: u8) {
    let hash = sock.hash();
    let mut is_client = old == state::SYN_SENT;
    if let Some(conn) = conn::alive(sock) {
        // SAFETY: the entry of a live socket.
        unsafe {
            if is_established(&*conn, hash) {
                return;
            }
            let is_client_conn = (*conn).side == Side::Client as u8;
            let is_child = old == state::SYN_RECV && is_client_conn && sock.without_file();
            if is_child {
                // An earlier socket's, whose end the kernel skipped our programs for.
                *conn = NEW;
            } else {
                // Crossed SYNs take a client through SYN_RECV.
                is_client |= is_client_conn;
            }
        }
    }
    if !is_client {
        timer::established(sock);
    }
    if let Some(conn) = conn::begin(sock.0, &NEW) {
        // SAFETY: the entry of a live socket.
        unsafe {
            // It was connecting before tracing began.
            let was_connecting = is_client && (*conn).flags & BEGUN == 0;
            (*conn).side = if is_client {
                Side::Client
            } else {
                Side::Server
            } as u8;
            (*conn).flags |= BEGUN;
            (*conn).hash = hash;
            (*conn).established_ns = now_ns();
            if was_connecting {
                existing::adopt(sock.0, conn);
            }
            uncalled::established(sock, conn);
        }
    }
}

/// Whether a connection state has this very ESTABLISHED from the other program: an earlier socket's has another connection.
#[inline(always)]
fn is_established(conn: &Conn, hash: u32) -> bool {
    conn.established_ns != 0 && conn.hash == hash
}

/// ESTABLISHED or SYN_RECV → FIN_WAIT1 (active), CLOSE_WAIT → LAST_ACK (passive): in the closer.
#[inline(always)]
fn closing(ctx: Ctx, sock: Sock, old: u8, active: bool) {
    let Some(conn) = conn::alive(sock).or_else(|| conn::begin_existing(sock, &NEW)) else {
        return;
    };
    // A crossed SYN or a TFO child whose shutdown() came first is closed by softirq: no actor there.
    let owned = sock.owned();
    // SAFETY: the entry of a live socket.
    unsafe {
        // A client gets there by crossed SYNs.
        if old == state::SYN_RECV && (*conn).side != Side::Client as u8 {
            (*conn).side = Side::Server as u8;
        }
        subflow::take_actors(sock, &mut *conn);
        if owned && !(*conn).closer.is_process() {
            (*conn).closer = closer_or_opener(sock, &*conn);
            (*conn).site = stack::site(ctx, &(*conn).closer);
        }
        if active {
            (*conn).flags |= ACTIVE_CLOSE;
            note_close(sock, conn);
        }
    }
    if active {
        birth::expect(sock);
    }
}

/// FIN_WAIT1 or FIN_WAIT2 again: close(), where shutdown() had sent the FIN.
#[inline(always)]
fn closed_after_shutdown(sock: Sock) {
    if let Some(conn) = conn::alive(sock) {
        // SAFETY: the entry of a live socket.
        unsafe { note_close(sock, conn) }
    }
}

/// Notes since when data is too late: __tcp_close() and inet_shutdown() say that no more is received before they say more.
///
/// # Safety
/// The entry of a live socket.
#[inline(always)]
unsafe fn note_close(sock: Sock, conn: *mut Conn) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*conn).closed_ns == 0 && sock.shutdown() == SHUT_BOTH {
            (*conn).closed_ns = now_ns();
        }
    }
}

/// The acting process; the opener where a kernel thread stands for a process that is gone.
#[inline(always)]
fn closer_or_opener(sock: Sock, conn: &Conn) -> Actor {
    let acting = actor(sock);
    if !acting.is_process() && acting.key.unattributed == Unattributed::Unknown as u32 {
        return conn.opener;
    }
    acting
}

/// any → CLOSE.
#[inline(always)]
fn closed(ctx: Ctx, sock: Sock, old: u8, program: Program) {
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

/// Whether the second program was here before the first, with this →CLOSE: see [`Turns`](crate::records::Turns).
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

/// →CLOSE, or what is left of it at `tcp_destroy_sock` (`old` 0) where the kernel skipped the program
/// that should have seen it.
#[inline(always)]
fn finish(ctx: Ctx, sock: Sock, conn: *mut Conn, old: u8) {
    // SAFETY: the entry of a live socket.
    let known = unsafe { &mut *conn };
    uncalled::closed(ctx, sock, known, old != 0);
    if matches!(old, state::ESTABLISHED | state::CLOSE_WAIT) && counting::has_begun() {
        totals::add_connection_reset(sock.net());
    }
    let error = sock.error();
    let reset = known.flags & (RST_SENT | RST_RECEIVED) != 0;
    if !known.closer.is_process() && error == 0 && !reset && old != 0 {
        set_last_closer(ctx, sock, known, old);
    }
    if inferred::leaves_mini(sock, known, old) {
        inferred::infer(sock, conn, old);
    }
    known.closed_from = old;
    known.flags |= CLOSED;
    if error != 0 && !reset && known.flags & BORN == 0 {
        subflow::take_actors(sock, known);
        abort(sock, known, old, error);
    }
}

/// A connection that goes from an open state straight to CLOSE without an error is being disconnected
/// by whoever runs: linger 0, unread data, connect(AF_UNSPEC); or it is a queued child of a listener
/// that this thread is closing (inet_csk_listen_stop; the child itself is not owned then).
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
        conn.closer = closer_or_opener(sock, conn);
    } else if sock.without_file()
        && LISTENER_CLOSERS
            .get_ptr(bpf_get_current_pid_tgid())
            .is_some()
    {
        conn.closer = actor(sock);
    } else {
        return;
    }
    conn.site = stack::site(ctx, &conn.closer);
}

#[inline(always)]
fn abort(sock: Sock, conn: &Conn, from: u8, error: u32) {
    let fact = Fact {
        kind: EventKind::Abort,
        state: from,
        from: 0,
        reason: match error {
            ETIMEDOUT => AbortReason::Timeout,
            ECONNABORTED => AbortReason::Destroyed,
            _ => AbortReason::Other,
        } as u8,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
    };
    emit::of_socket(&fact, sock.0, conn, answerable(conn));
}

/// `tcp_destroy_sock(sk)`: the socket goes. The second chance for a →CLOSE that was missed: an interrupt
/// in the middle of the transition's program lets softirq run TCP, whose transitions then meet the same
/// program on that CPU and are skipped; this one is another program.
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
    // Data after close: the RST follows.
    let may_answer = is_active && flags & RST_RECEIVED == 0 || flags & RST_MAY_BE_DATA != 0;
    if leaves_nothing && may_answer && flags & RST_SENT == 0 {
        // SAFETY: as above.
        recent::keep(sock, unsafe { &*conn });
    }
    unaccepted::destroyed(sock, conn, flags);
    conn::forget(sock.0);
}

/// The queue of a listener is empty when it is destroyed. A child has no connection state left either, where the second program was
/// before the first.
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

/// `tcp_destroy_sock(sk)`, in another program: a connection state that is left was missed by the first one.
#[inline(always)]
pub fn destroyed_again(ctx: Ctx, sock: Sock) {
    if conn::find(sock.0).is_some() {
        destroyed(ctx, sock);
    }
}
