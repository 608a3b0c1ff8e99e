//! Creation and refusal of mini-sockets.
//!
//! tcp_time_wait() creates a mini-socket with inet_twsk_alloc() while the full socket is still in FIN_WAIT1, FIN_WAIT2
//! or CLOSING. The full socket's →CLOSE follows (net/ipv4/tcp_minisocks.c).

use twtrace_wire::{BIRTHS_BY_TIMER, EventKind, NO_KERNEL_REASON};

use crate::{
    constants::config,
    events::emit,
    maps::counting,
    mini_sockets::kept::keep,
    records::{Arguments, BORN, Conn, Fact, NO_BYTES},
    slots::{
        closing, conn,
        stash::{self, Function},
    },
    sockets::{
        sock::{IPPROTO_TCP, Sock},
        traffic::Counted,
        tuple::tuple_key,
    },
    totals::count_birth,
};

/// Enters a closing socket, so that a mini-socket it may leave behind leads back to it.
#[inline(always)]
pub fn expect(sock: Sock) {
    if config!(births) == BIRTHS_BY_TIMER {
        closing::enter(sock);
    }
}

/// Undoes [`expect`]: the socket has ended, or has its mini-socket.
#[inline(always)]
pub fn expect_none(sock: Sock) {
    if config!(births) == BIRTHS_BY_TIMER {
        closing::leave(sock);
    }
}

/// `inet_twsk_alloc(sk, dr, state)` returned `mini` (0: refused). The kernel runs fexit programs in no fixed order: the
/// [second program](allocated_again) may have run already.
#[inline(always)]
pub fn allocated(sock: Sock, substate: u8, mini: u64) {
    if sock.protocol() != IPPROTO_TCP || allocated_again(sock, substate, mini) {
        return;
    }
    if !counting::is_following() {
        return;
    }
    let stranger = conn::stranger();
    let Some(conn) = conn::begin_existing(sock, stranger) else {
        born(sock.0, stranger, substate, mini);
        return;
    };
    // SAFETY: the entry of a live socket: it is removed at tcp_destroy_sock only.
    unsafe {
        // Keeps the →CLOSE that follows from being taken for another creation.
        (*conn).flags |= BORN;
        born(sock.0, &*conn, substate, mini);
    }
}

/// The same return, in the second program. Handles what the first program missed if the socket has a connection state;
/// returns whether it has one. A socket that works off its backlog creates its mini-socket in process context, with
/// bottom halves on.
#[inline(always)]
pub fn allocated_again(sock: Sock, substate: u8, mini: u64) -> bool {
    let Some(conn) = conn::alive(sock) else {
        return false;
    };
    // SAFETY: the entry of a live socket: it is removed at tcp_destroy_sock only.
    unsafe {
        if (*conn).flags & BORN == 0 {
            (*conn).flags |= BORN;
            born(sock.0, &*conn, substate, mini);
        }
    }
    true
}

/// `inet_twsk_alloc(sk, dr, state)` was entered (kprobe tier: the return probe does not see the arguments).
#[inline(always)]
pub fn allocating(sock: u64, substate: u8) {
    let other = substate as u64;
    stash::entered(Function::TwskAlloc, &Arguments { sock, other });
}

/// `inet_twsk_alloc` returned `mini`. A mini-socket of another connection is the return of a call whose entry the kernel
/// skipped: it is found at its full socket's →CLOSE.
#[inline(always)]
pub fn allocation_returned(mini: u64) {
    let Some(Arguments { sock, other }) = stash::returned(Function::TwskAlloc) else {
        return;
    };
    let (sock, new) = (Sock(sock), Sock(mini));
    let is_its = || tuple_key(new, new.local_port()) == tuple_key(sock, sock.source_port());
    if mini == 0 || is_its() {
        allocated(sock, other as u8, mini);
    }
}

#[inline(never)]
fn born(sock: u64, conn: &Conn, substate: u8, mini: u64) -> u32 {
    let sock = Sock(sock);
    let refused = mini == 0;
    let fact = Fact {
        kind: if refused {
            EventKind::TimeWaitOverflow
        } else {
            EventKind::TimeWait
        },
        state: substate,
        from: sock.state(),
        reason: 0,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
        unread_bytes: NO_BYTES,
    };
    // The peer has acknowledged everything, including the FIN.
    let traffic = sock.traffic(Counted::Sent, conn);
    if counting::has_begun() {
        count_birth(sock.netns_key(), refused, false, 1);
        emit::of_socket_with(&fact, sock.0, conn, &conn.closer, &traffic);
    }
    if !refused {
        keep(sock.0, conn, substate, mini, &traffic);
    }
    0
}
