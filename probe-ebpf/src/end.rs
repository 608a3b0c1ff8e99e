//! Ends of mini-sockets, and how they came.
//!
//! inet_twsk_kill() runs once for each. What called it says why: tw_timer_handler() (expired), a connect()
//! whose tcp_twsk_unique() was given the tuple, tcp_timewait_state_process() that returned TCP_TW_SYN, the
//! end of the namespace; what is left are RSTs and destruction from outside (net/ipv4/inet_timewait_sock.c,
//! tcp_minisocks.c). The timer tier sees the same by the mini-socket's timer.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_jiffies64};
use twtrace_wire::{Cancelled, EndCause, EndEvent, Probe, Process, Tuple, Unattributed};

use crate::{
    constants::{config, offset},
    events::ended,
    maps::{CANCELLED, EXPIRING, MINIS, REOPENING, REUSERS, counting, lost::count_lost},
    mini_sockets::{
        kept::promoted,
        mini::{mini_of, namespace_goes},
    },
    processes::process,
    records::Actor,
    sockets::{
        read::{now_ns, read},
        sock::Sock,
        tuple::tuple_key,
    },
    totals,
};

/// `enum tcp_tw_status` (include/net/tcp.h).
const TCP_TW_ACK: u32 = 2;
const TCP_TW_SYN: u32 = 3;

/// A mini-socket that met a SYN goes in the same call chain, or not because of it. A virtual CPU may be put aside in between.
const REOPENING_NS: u64 = 100_000_000;

/// Why no process is named that a mini-socket was reused by.
static NOBODY: Actor = Actor::nobody(Unattributed::Unknown);

/// `tw_timer_handler(timer)`: its mini-socket goes next on this CPU.
#[inline(always)]
pub fn expiring(timer: u64) {
    if let Some(slot) = EXPIRING.get_ptr_mut(0) {
        // SAFETY: a per-CPU slot; timers of one CPU don't interrupt each other.
        unsafe { *slot = timer - offset!(tw_timer) as u64 }
    }
}

/// `tcp_timewait_state_process(tw, …)` returned. With TCP_TW_ACK and TCP_TW_SYN the caller still holds the
/// mini-socket; with the others it may be gone.
#[inline(always)]
pub fn segment_processed(mini: u64, status: u32) {
    match status {
        TCP_TW_ACK => promoted(Sock(mini)),
        TCP_TW_SYN => {
            let _ = REOPENING.insert(mini, now_ns(), 0);
        }
        _ => {}
    }
}

/// `inet_twsk_kill(tw)`.
#[inline(always)]
pub fn killed(mini: Sock) {
    if let Some(slot) = EXPIRING.get_ptr_mut(0) {
        // SAFETY: a per-CPU slot.
        unsafe {
            if *slot == mini.0 {
                *slot = 0;
                tell(mini, EndCause::Expired, &NOBODY);
                return;
            }
        }
    }
    if let Some(by) = REUSERS.get_ptr(mini.0) {
        // SAFETY: an LRU entry that is only ever overwritten with another actor.
        tell(mini, EndCause::ReusedByConnect, unsafe { &*by });
        let _ = REUSERS.remove(mini.0);
        return;
    }
    let cause = if namespace_goes(mini) {
        EndCause::Purged
    } else if is_reopening(mini) {
        EndCause::ReopenedBySyn
    } else {
        EndCause::Killed
    };
    tell(mini, cause, &NOBODY);
}

#[inline(always)]
fn is_reopening(mini: Sock) -> bool {
    let Some(met) = REOPENING.get_ptr(mini.0) else {
        return false;
    };
    // SAFETY: a plain integer in a map value.
    let met = unsafe { *met };
    let _ = REOPENING.remove(mini.0);
    now_ns().wrapping_sub(met) < REOPENING_NS
}

/// Timer tier: `timer_expire_entry(timer, …)`.
#[inline(always)]
pub fn timer_expired(timer: u64) {
    if let Some(mini) = mini_of(timer) {
        tell(mini, EndCause::Expired, &NOBODY);
    }
}

/// Timer tier: `timer_cancel(timer)`. It comes before every expiry and re-arming, too.
///
/// connect() takes a mini-socket out of the hash table before it stops its timer
/// (__inet_check_established). For the rest only what follows decides: a start, or nothing. A timer that is due is taken to be run now: one that
/// was stopped between its time and its run (two seconds late at most) goes untold.
#[inline(always)]
pub fn timer_cancelled(timer: u64) {
    let Some(mini) = mini_of(timer) else {
        return;
    };
    if read::<u64>(mini.0, offset!(skc_unhashed)) == 0 {
        // SAFETY: no arguments, no effect.
        let connecting = process::current(unsafe { bpf_get_current_task() });
        return tell(mini, EndCause::ReusedByConnect, &connecting);
    }
    if namespace_goes(mini) {
        return tell(mini, EndCause::Purged, &NOBODY);
    }
    // SAFETY: no arguments, no effect.
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
            // A timer that was started again is not here any more: the one before is gone for sure.
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

/// Timer tier: the timer was started again.
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
        // A timer that stays in its bucket of the wheel is armed again without a trace (__mod_timer): then
        // the moment of the promotion is not known.
        promoted(mini);
        if was_counted {
            totals::uncount_end(mini.netns_key(), &maker, EndCause::Killed);
        }
    }
}

/// Timer tier: a connection of the server side was established; where a mini-socket of its tuple had just
/// lost its timer, the peer's SYN reopened it.
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

/// Counts an end, reports it and forgets the mini-socket.
#[inline(never)]
fn tell(mini: Sock, cause: EndCause, by: &Actor) {
    if counting::has_begun() {
        totals::count_end(mini, cause);
        if let EndCause::ReusedByConnect = cause {
            totals::count_reused(by);
        }
        ended::report(mini, cause, by);
    }
    let _ = MINIS.remove(mini.0);
}
