//! Births and refusals of mini-sockets.
//!
//! tcp_time_wait() makes one with inet_twsk_alloc() while the full socket is still in FIN_WAIT1,
//! FIN_WAIT2 or CLOSING; the full socket's →CLOSE follows (net/ipv4/tcp_minisocks.c).

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use twtrace_wire::{
    BIRTHS_BY_TIMER, BIRTHS_INFERRED, EventKind, NO_KERNEL_REASON, Side, TcpState, flags,
};

use crate::{
    constants::{config, offset},
    end,
    events::emit::{self, Addresses},
    maps::{ALLOCATING, counting},
    mini_sockets::{
        age::{old_enough, unknown_since},
        hashed,
        kept::{keep, mini_story},
        mini::mini_of,
    },
    records::{
        ACTIVE_CLOSE, BORN, BORN_INFERRED, Birth, CLOSED, Fact, RST_RECEIVED, RST_SENT, Story,
        UNCOUNTED,
    },
    slots::{closing, story},
    sockets::{
        read::read,
        sock::{IPPROTO_TCP, Sock},
        state,
        traffic::Counted,
    },
    totals::{self, count_birth},
};

/// Remembers the way back from a mini-socket that this closing socket may leave behind.
#[inline(always)]
pub fn expect_birth(sock: Sock) {
    if config!(births) == BIRTHS_BY_TIMER {
        closing::enter(sock);
    }
}

/// The socket is gone, or has its mini-socket.
#[inline(always)]
pub fn expect_no_birth(sock: Sock) {
    if config!(births) == BIRTHS_BY_TIMER {
        closing::leave(sock);
    }
}

/// `inet_twsk_alloc(sk, dr, state)` returned `mini` (0: refused). The kernel runs fexit programs in no order
/// that could be relied on: the [second one](allocated_again) may have been here.
#[inline(always)]
pub fn allocated(sock: Sock, substate: u8, mini: u64) {
    if sock.protocol() != IPPROTO_TCP || allocated_again(sock, substate, mini) {
        return;
    }
    if !counting::is_following() {
        return;
    }
    let stranger = story::stranger();
    let Some(story) = story::begin_existing(sock, stranger) else {
        born(sock.0, stranger, substate, mini);
        return;
    };
    // SAFETY: the entry of a socket that is alive: it is deleted at tcp_destroy_sock only.
    unsafe {
        // So that its →CLOSE, which follows, is not taken for another birth.
        (*story).flags |= BORN;
        born(sock.0, &*story, substate, mini);
    }
}

/// The same return, in another program: does what the first one was kept from doing, if the socket has a
/// story; whether it has one. A socket that works off its backlog makes its mini-socket in process context,
/// with bottom halves on.
#[inline(always)]
pub fn allocated_again(sock: Sock, substate: u8, mini: u64) -> bool {
    let Some(story) = story::alive(sock) else {
        return false;
    };
    // SAFETY: the entry of a socket that is alive: it is deleted at tcp_destroy_sock only.
    unsafe {
        if (*story).flags & BORN == 0 {
            (*story).flags |= BORN;
            born(sock.0, &*story, substate, mini);
        }
    }
    true
}

/// `inet_twsk_alloc(sk, dr, state)` was entered (kprobe tier: its return does not show the arguments).
#[inline(always)]
pub fn allocating(sock: u64, substate: u8) {
    let birth = Birth {
        sock,
        substate: substate as u64,
    };
    let _ = ALLOCATING.insert(bpf_get_current_pid_tgid(), &birth, 0);
}

/// ... and returned `mini`. Bottom halves are off in between: on each CPU there is one at a time, and
/// the thread is the same.
#[inline(always)]
pub fn allocation_returned(mini: u64) {
    let thread = bpf_get_current_pid_tgid();
    let Some(birth) = ALLOCATING.get_ptr(thread) else {
        return;
    };
    // SAFETY: only this thread writes this entry.
    let birth = unsafe { *birth };
    let _ = ALLOCATING.remove(thread);
    allocated(Sock(birth.sock), birth.substate as u8, mini);
}

/// A timer was started. Is it that of a new mini-socket?
///
/// `__inet_twsk_schedule(tw, timeo, rearm)` starts it at birth and when it is re-armed. A socket that is
/// known to be closing with this tuple decides first; then a mini-socket that is known already is only
/// re-armed. What is left was either born of a socket whose closing was not seen, or before tracing. At
/// birth the reference count is 0 (to 6.1: scheduled before hashed) or 3 (6.12 on: bind hash, established
/// hash and timer hold one each), if no lookup on another CPU holds one more; on re-arming the segment's
/// handler does.
#[inline(always)]
pub fn timer_started(timer: u64) {
    let Some(mini) = mini_of(timer) else {
        return;
    };
    if started_by_closing(mini) {
        return;
    }
    end::armed_again(mini);
    let first = read::<u32>(mini.0, offset!(skc_refcnt)) <= 3 || old_enough();
    if mini_story(mini).is_none() && first {
        born_of_stranger(mini, read(mini.0, offset!(tw_substate)));
    }
}

/// The same start, in another program: a closing socket that still waits for its mini-socket was missed by
/// the first one.
#[inline(always)]
pub fn timer_started_again(timer: u64) {
    if let Some(mini) = mini_of(timer) {
        started_by_closing(mini);
    }
}

/// Whether a socket is known to be closing with the mini-socket's tuple: then this is its birth.
#[inline(always)]
fn started_by_closing(mini: Sock) -> bool {
    let Some(sock) = closing::take(mini) else {
        return false;
    };
    allocated(sock, read(mini.0, offset!(tw_substate)), mini.0);
    true
}

/// A mini-socket whose maker began to close before tracing.
#[inline(always)]
fn born_of_stranger(mini: Sock, substate: u8) {
    let fact = Fact {
        kind: EventKind::TimeWait,
        state: substate,
        from: TcpState::Unknown as u8,
        reason: 0,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
    };
    if !counting::has_begun() {
        return;
    }
    count_birth(mini.netns_key(), false, false, 1);
    let why = unknown_since();
    emit::of_nobody(&fact, Addresses::Sock(mini.0), Side::Unknown, why);
}

#[inline(never)]
fn born(sock: u64, story: &Story, substate: u8, mini: u64) -> u32 {
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
    };
    // The peer has acknowledged all, the FIN too.
    let traffic = sock.traffic(Counted::Sent, story);
    if counting::has_begun() {
        count_birth(sock.netns_key(), refused, false, 1);
        emit::of_socket_with(&fact, sock.0, story, &story.closer, &traffic);
    }
    if !refused {
        keep(sock.0, story, substate, mini, &traffic);
    }
    0
}

/// A socket reached CLOSE as if it had left a mini-socket behind, and none was seen being made. Where the kernel skipped our
/// program, or there is none, the mini-socket is in its table, and this says what that program would have said. Else the kernel
/// refused it; with fentry and kprobes, which see refusals, it was made, and is gone already. `from` is 0 where the program of
/// →CLOSE was skipped, too.
#[inline(always)]
pub fn infer(sock: Sock, story: *mut Story, from: u8) {
    // SAFETY: the caller's entry of a live socket, or its own copy.
    let story = unsafe { &mut *story };
    let mini = hashed::mini_of(sock.0);
    if mini != 0 {
        return recover(sock, story, mini, from);
    }
    if from == 0 && (hashed::is_readable() || config!(births) != BIRTHS_INFERRED) {
        return;
    }
    if from == state::CLOSING && may_be_disconnect(sock) {
        return;
    }
    story.flags |= BORN | BORN_INFERRED;
    if !counting::has_begun() {
        story.flags |= UNCOUNTED;
        return;
    }
    let fact = inferred(sock, from);
    count_birth(sock.netns_key(), is_refused(), true, 1);
    emit::of_socket(&fact, sock.0, story, &story.closer);
}

/// A birth that was not seen as it happened.
#[inline(always)]
fn recover(sock: Sock, story: &mut Story, mini: u64, from: u8) {
    story.flags |= BORN;
    expect_no_birth(sock);
    let substate = read(mini, offset!(tw_substate));
    let fact = Fact {
        kind: EventKind::TimeWait,
        state: substate,
        from,
        reason: 0,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
    };
    if counting::has_begun() {
        count_birth(sock.netns_key(), false, false, 1);
        emit::of_socket(&fact, sock.0, story, &story.closer);
    }
    keep_recovered(sock.0, story, substate, mini);
}

#[inline(never)]
fn keep_recovered(sock: u64, story: &Story, substate: u8, mini: u64) -> u32 {
    let sock = Sock(sock);
    let traffic = sock.traffic(Counted::Sent, story);
    keep(sock.0, story, substate, mini, &traffic)
}

/// What was [inferred](infer) has turned out to be no birth and no refusal.
#[inline(always)]
pub fn take_back(sock: Sock, story: &Story) {
    let fact = inferred(sock, story.closed_from);
    count_birth(sock.netns_key(), is_refused(), true, u64::MAX);
    totals::uncount(&fact, story, &story.closer);
}

/// Whether a mini-socket that is missing was refused; else its birth was not seen.
#[inline(always)]
fn is_refused() -> bool {
    match config!(births) {
        BIRTHS_BY_TIMER => true,
        BIRTHS_INFERRED => hashed::is_readable(),
        _ => false,
    }
}

#[inline(always)]
fn inferred(sock: Sock, from: u8) -> Fact {
    // FIN_WAIT1 meets data with the ACK of the FIN: the kernel takes it through FIN_WAIT2 to CLOSE, makes no mini-socket
    // and sends a RST at once.
    let may_be_data = from != state::CLOSING && sock.orphan();
    Fact {
        kind: if is_refused() {
            EventKind::TimeWaitOverflow
        } else {
            EventKind::TimeWait
        },
        // Orphans wait for the peer's FIN inside the mini-socket; with the FIN it is TIME_WAIT proper.
        state: if sock.peer_fin_seen() {
            state::TIME_WAIT
        } else {
            state::FIN_WAIT2
        },
        from,
        reason: 0,
        kernel_reason: NO_KERNEL_REASON,
        flags: if may_be_data {
            flags::INFERRED | flags::MAY_BE_DATA
        } else {
            flags::INFERRED
        },
    }
}

/// Whether →CLOSE from `from` leaves a mini-socket behind, for one that saw only states.
#[inline(always)]
pub fn leaves_mini(sock: Sock, story: &Story, from: u8) -> bool {
    if story.flags & (BORN | CLOSED | RST_SENT | RST_RECEIVED) != 0 || sock.error() != 0 {
        return false;
    }
    // The timer of a mini-socket finds its full socket only if that was seen beginning to close.
    if config!(births) == BIRTHS_BY_TIMER && story.flags & ACTIVE_CLOSE == 0 {
        return false;
    }
    match from {
        state::CLOSING => true,
        // Either the peer's FIN came, or the last descriptor went. A disconnect or a close() over unread
        // data leaves FIN_WAIT2 too, but before the socket is orphaned and without the FIN.
        state::FIN_WAIT2 => !sock.linger2_negative() && (sock.peer_fin_seen() || sock.orphan()),
        // The program that should have seen →CLOSE was skipped; the story knows who closed first. A disconnect may have been
        // what was skipped: where there are hooks of births, the kernel's table has the word.
        0 => story.flags & ACTIVE_CLOSE != 0 && (sock.peer_fin_seen() || sock.orphan()),
        _ => false,
    }
}

/// CLOSING → CLOSE by a process that holds the socket by a descriptor: it works off its backlog, which leaves a mini-socket;
/// or it disconnects, by close() with SO_LINGER {on, 0} or over unread data, or by connect(AF_UNSPEC), which leaves nothing,
/// and sends no RST as a rule (tcp_need_reset()). Where the kernel's table has no mini-socket, it is taken for the latter.
#[inline(always)]
fn may_be_disconnect(sock: Sock) -> bool {
    sock.owned() && !sock.orphan()
}
