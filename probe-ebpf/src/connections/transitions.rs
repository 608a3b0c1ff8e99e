//! State transitions: when a connection is opened and closed, and by which process.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task};
use twtrace_wire::Side;

use super::closed::{closed, set_closer};
use crate::{
    constants::config,
    ports::{syscall, uncalled},
    processes::{
        process::{actor, current_key},
        stack::{self, Ctx},
    },
    records::{ACTIVE_CLOSE, BEGUN, CLOSED, CLOSED_BY_OTHER, Conn, NEW, Program},
    slots::{conn, existing, listener, subflow},
    sockets::{
        read::now_ns,
        sock::{IPPROTO_MPTCP, IPPROTO_TCP, SHUT_BOTH, Sock},
        state,
    },
    time_wait::{birth, timer},
};

/// `inet_sock_set_state(sk, oldstate, newstate)`. If the [second program](transition_again) ran first, this sets the
/// same values again, except for →CLOSE.
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

/// The same transition, in the second program: handles what the first program missed.
///
/// Where tracepoints can be preempted (seen on 7.3), a task that is preempted in the middle of the first program leaves
/// it marked as running on that CPU. The kernel then skips it for every transition that other tasks make in the
/// meantime: above all FIN_WAIT1, and with it the closer. Under the load of the `crowd/*` scenarios, a second raw
/// program left 2 closers of 12,000 unknown and a third one 3 of 8,000: all of them can be preempted at once. The
/// program of a classic tracepoint cannot be preempted, and comes last.
#[inline(always)]
pub fn transition_again(ctx: Ctx, sock: Sock, old: u8, new: u8) {
    if !is_watched(old, new) {
        return unwatched(sock, old);
    }
    if old == new {
        // Sets the same values again.
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

/// Whether a transition shows anything about the processes of a connection or its end.
#[inline(always)]
fn is_watched(old: u8, new: u8) -> bool {
    if old == new {
        // close() after shutdown() repeats these states; a listener's abort repeats CLOSE.
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

/// A transition that is not watched: a child begins as a copy of its listener.
#[inline(always)]
fn unwatched(sock: Sock, old: u8) {
    if old == state::LISTEN && sock.protocol() == IPPROTO_MPTCP {
        subflow::whole_cloned(sock);
    }
}

/// connect(), in process context: the opener is the current process.
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

/// `inet_hash_connect(…, sock)` begins, in process context: tcp_v4_connect() and tcp_v6_connect() call it right after
/// SYN_SENT. Another chance to see who connects, where tasks that are preempted inside the programs of that transition
/// can have all of them skipped (7.x).
#[inline(always)]
pub fn connects(ctx: Ctx, sock: Sock) {
    if config!(direct_reads) != 0 && sock.state() == state::SYN_SENT {
        transition_again(ctx, sock, state::CLOSE, state::SYN_SENT);
    }
}

/// listen(), in process context.
#[inline(always)]
fn listening(sock: Sock) {
    listener::opened(sock);
    if config!(ports_by_syscall) != 0 {
        syscall::listen_began(sock);
    }
}

/// Runs in softirq or from the backlog: the current process may be any. The server's accept() may have come first.
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
                // The state of an earlier socket, whose end was missed because the kernel skipped our programs.
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

/// Whether the other program has recorded this ESTABLISHED in the connection state. The state of an earlier socket has
/// another connection's hash.
#[inline(always)]
fn is_established(conn: &Conn, hash: u32) -> bool {
    conn.established_ns != 0 && conn.hash == hash
}

/// ESTABLISHED or SYN_RECV → FIN_WAIT1 (active), CLOSE_WAIT → LAST_ACK (passive): in the closing process.
#[inline(always)]
fn closing(ctx: Ctx, sock: Sock, old: u8, active: bool) {
    let Some(conn) = conn::alive(sock).or_else(|| conn::begin_existing(sock, &NEW)) else {
        return;
    };
    // After crossed SYNs, or for a TFO child whose shutdown() came first, softirq closes: there is no acting process.
    let owned = sock.owned();
    // SAFETY: the entry of a live socket.
    unsafe {
        // Crossed SYNs take a client to SYN_RECV.
        if old == state::SYN_RECV && (*conn).side != Side::Client as u8 {
            (*conn).side = Side::Server as u8;
        }
        subflow::take_actors(sock, &mut *conn);
        if owned && !(*conn).closer.is_process() {
            set_closer(sock, &mut *conn);
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

/// FIN_WAIT1 or FIN_WAIT2 again: close() after shutdown() had sent the FIN.
#[inline(always)]
fn closed_after_shutdown(sock: Sock) {
    if let Some(conn) = conn::alive(sock) {
        // SAFETY: the entry of a live socket; the helper takes no arguments and has no side effects.
        unsafe {
            note_close(sock, conn);
            let closer = &raw const (*conn).closer;
            if (*closer).is_process() && !(*closer).is_of(&current_key(bpf_get_current_task())) {
                (*conn).flags |= CLOSED_BY_OTHER;
            }
        }
    }
}

/// Records the time from which data is too late: __tcp_close() and inet_shutdown() set `sk_shutdown` before they change
/// the state.
///
/// # Safety
/// `conn` is the entry of a live socket.
#[inline(always)]
unsafe fn note_close(sock: Sock, conn: *mut Conn) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if (*conn).closed_ns == 0 && sock.shutdown() == SHUT_BOTH {
            (*conn).closed_ns = now_ns();
        }
    }
}
