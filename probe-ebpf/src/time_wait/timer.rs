//! Creation and end of mini-sockets, seen through their timer: the timer tier.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_jiffies64};
use twtrace_wire::{
    Cancelled, EndCause, EndEvent, EventKind, NO_KERNEL_REASON, Probe, Process, Side, TcpState,
    Tuple,
};

use super::{birth::allocated, end::tell};
use crate::{
    constants::{config, offset},
    events::{
        emit::{self, Addresses},
        ended,
    },
    maps::{CANCELLED, counting, lost::count_lost},
    mini_sockets::{
        age::{old_enough, unknown_since},
        kept::{mini_conn, promoted},
        mini::{mini_of, namespace_goes},
    },
    processes::process,
    records::{Fact, NO_BYTES, NOBODY},
    slots::closing,
    sockets::{read::read, sock::Sock, tuple::tuple_key},
    totals::{self, count_birth},
};

/// A timer was started. Checks whether it belongs to a new mini-socket.
///
/// `__inet_twsk_schedule(tw, timeo, rearm)` starts it at creation and when it is re-armed. If a socket is known to be
/// closing with this tuple, this is a creation. Else, a mini-socket that is already known is only re-armed. What
/// remains was created by a socket whose close was not seen, or before tracing. At creation the reference count is 0
/// (to 6.1: scheduled before hashed) or 3 (6.12 on: bind hash, established hash and timer hold one each), unless a
/// lookup on another CPU holds one more. On re-arming, the handler of the segment holds one more.
#[inline(always)]
pub fn started(timer: u64) {
    let Some(mini) = mini_of(timer) else {
        return;
    };
    if started_by_closing(mini) {
        return;
    }
    armed_again(mini);
    let first = read::<u32>(mini.0, offset!(skc_refcnt)) <= 3 || old_enough();
    if mini_conn(mini).is_none() && first {
        born_of_stranger(mini, read(mini.0, offset!(tw_substate)));
    }
}

/// The same start, in the second program: a closing socket that still waits for its mini-socket was missed by the first
/// one.
#[inline(always)]
pub fn started_again(timer: u64) {
    if let Some(mini) = mini_of(timer) {
        started_by_closing(mini);
    }
}

/// Whether a socket is known to be closing with the mini-socket's tuple. If so, this is the creation, and it is
/// reported.
#[inline(always)]
fn started_by_closing(mini: Sock) -> bool {
    let Some(sock) = closing::take(mini) else {
        return false;
    };
    allocated(sock, read(mini.0, offset!(tw_substate)), mini.0);
    true
}

/// Reports a mini-socket whose full socket began to close before tracing.
#[inline(always)]
fn born_of_stranger(mini: Sock, substate: u8) {
    let fact = Fact {
        kind: EventKind::TimeWait,
        state: substate,
        from: TcpState::Unknown as u8,
        reason: 0,
        kernel_reason: NO_KERNEL_REASON,
        flags: 0,
        unread_bytes: NO_BYTES,
    };
    if !counting::has_begun() {
        return;
    }
    count_birth(mini.netns_key(), false, false, 1);
    let why = unknown_since();
    emit::of_nobody(&fact, Addresses::Sock(mini.0), Side::Unknown, why);
}

/// Timer tier: `timer_expire_entry(timer, …)`.
#[inline(always)]
pub fn expired(timer: u64) {
    if let Some(mini) = mini_of(timer) {
        tell(mini, EndCause::Expired, &NOBODY);
    }
}

/// Timer tier: `timer_cancel(timer)`. It also comes before every expiry and re-arming.
///
/// connect() removes a mini-socket from the hash table before it stops its timer (__inet_check_established). In all
/// other cases, only what follows decides: a start, or nothing. A timer that is due is assumed to be running now. One
/// that was stopped between its due time and its run (two seconds late at most) is not reported.
#[inline(always)]
pub fn cancelled(timer: u64) {
    let Some(mini) = mini_of(timer) else {
        return;
    };
    if read::<u64>(mini.0, offset!(skc_unhashed)) == 0 {
        // SAFETY: the helper takes no arguments and has no side effects.
        let connecting = process::current(unsafe { bpf_get_current_task() });
        return tell(mini, EndCause::ReusedByConnect, &connecting);
    }
    if namespace_goes(mini) {
        return tell(mini, EndCause::Purged, &NOBODY);
    }
    // SAFETY: the helper takes no arguments and has no side effects.
    if unsafe { bpf_jiffies64() } >= read::<u64>(timer, offset!(timer_expires)) {
        return;
    }
    let counts = counting::has_begun();
    if counts {
        totals::count_end(mini, EndCause::Killed);
    }
    let key = tuple_key(mini, mini.local_port());
    if let Some(before) = CANCELLED.get_ptr(key) {
        // SAFETY: a map value of integers.
        unsafe {
            // A timer that was started again has left this map: the mini-socket before this one has ended.
            if (*before).mini != 0 && (*before).event.before_start == 0 {
                ended::report_again(&(*before).event);
            }
        }
    }
    if CANCELLED.insert(key, &NO_CANCELLED, 0).is_err() {
        return count_lost(Probe::TimeWaitEnd);
    }
    if let Some(cancelled) = CANCELLED.get_ptr_mut(key) {
        // SAFETY: a map value, filled in place; `mini` comes last.
        unsafe {
            ended::fill(&raw mut (*cancelled).event, mini, EndCause::Killed, &NOBODY);
            (*cancelled).event.before_start = !counts as u8;
            (*cancelled).mini = mini.0;
        }
    }
}

/// Timer tier: the timer was started again, so that the mini-socket did not end.
#[inline(always)]
pub fn armed_again(mini: Sock) {
    if config!(ends_by_timer) == 0 {
        return;
    }
    let key = tuple_key(mini, mini.local_port());
    let Some(cancelled) = CANCELLED.get_ptr(key) else {
        return;
    };
    // SAFETY: a map value of integers.
    let (before, maker, was_counted) = unsafe {
        let event = &(*cancelled).event;
        (
            (*cancelled).mini,
            event.process.key,
            event.before_start == 0,
        )
    };
    if before == mini.0 {
        let _ = CANCELLED.remove(key);
        // A timer that stays in its bucket of the wheel is re-armed without a trace event (__mod_timer): then the time
        // of the promotion is not known.
        promoted(mini);
        if was_counted {
            totals::uncount_end(mini.netns_key(), &maker, EndCause::Killed);
        }
    }
}

/// Timer tier: a connection of the server side was established. If a mini-socket of its tuple has just lost its timer,
/// the peer's SYN reopened it.
#[inline(always)]
pub fn established(sock: Sock) {
    if config!(ends_by_timer) == 0 {
        return;
    }
    if let Some(cancelled) = CANCELLED.get_ptr_mut(tuple_key(sock, sock.source_port())) {
        // SAFETY: a map value of integers.
        unsafe {
            if (*cancelled).event.cause == EndCause::Killed as u8 {
                (*cancelled).event.cause = EndCause::ReopenedBySyn as u8;
                if (*cancelled).event.before_start == 0 {
                    let maker = (*cancelled).event.process.key;
                    totals::recount_end(&maker, EndCause::Killed, EndCause::ReopenedBySyn);
                }
            }
        }
    }
}

/// Copied into the map before it is filled in place.
static NO_CANCELLED: Cancelled = Cancelled {
    mini: 0,
    event: EndEvent {
        mono_ns: 0,
        kind: 0,
        side: 0,
        cause: 0,
        before_start: 0,
        flags: 0,
        reserved2: 0,
        tuple: Tuple::NONE,
        age_ns: 0,
        promoted_ns: 0,
        process: Process::NONE,
        opener: Process::NONE,
        by: Process::NONE,
    },
};
