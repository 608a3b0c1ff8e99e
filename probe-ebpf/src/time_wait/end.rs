//! Ends of mini-sockets and their causes.
//!
//! inet_twsk_kill() runs once for each mini-socket. Its caller shows the cause: tw_timer_handler() (expired), a
//! connect() to which tcp_twsk_unique() gave the tuple, a tcp_timewait_state_process() that returned TCP_TW_SYN, or the
//! end of the namespace. The rest are RSTs and destruction from outside (net/ipv4/inet_timewait_sock.c,
//! tcp_minisocks.c). The timer tier sees the same ends through the mini-socket's timer.

use twtrace_wire::{EndCause, Unattributed};

use crate::{
    constants::offset,
    events::ended,
    maps::{EXPIRING, MINIS, REOPENING, REUSERS, counting},
    mini_sockets::{kept::promoted, mini::namespace_goes},
    records::Actor,
    sockets::{read::now_ns, sock::Sock},
    totals,
};

/// `enum tcp_tw_status` (include/net/tcp.h).
const TCP_TW_ACK: u32 = 2;
const TCP_TW_SYN: u32 = 3;

/// A mini-socket that a SYN ends does so in the same call chain. The bound allows for a virtual CPU that is paused in
/// between.
const REOPENING_NS: u64 = 100_000_000;

/// Stands for the process that reused a mini-socket if there is none, or it is not known.
pub static NOBODY: Actor = Actor::nobody(Unattributed::Unknown);

/// `tw_timer_handler(timer)`: the next mini-socket to end on this CPU is the timer's.
#[inline(always)]
pub fn expiring(timer: u64) {
    if let Some(slot) = EXPIRING.get_ptr_mut(0) {
        // SAFETY: a per-CPU slot; timers of one CPU don't interrupt each other.
        unsafe { *slot = timer - offset!(tw_timer) as u64 }
    }
}

/// `tcp_timewait_state_process(tw, …)` returned. With TCP_TW_ACK and TCP_TW_SYN the caller still holds the mini-socket;
/// with other results it may be freed already.
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

/// `inet_twsk_kill(tw)`: finds the cause and reports the end.
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
    // SAFETY: an integer in a map value.
    let met = unsafe { *met };
    let _ = REOPENING.remove(mini.0);
    now_ns().wrapping_sub(met) < REOPENING_NS
}

/// Counts an end, reports it and removes what is kept of the mini-socket.
#[inline(never)]
pub fn tell(mini: Sock, cause: EndCause, by: &Actor) {
    if counting::has_begun() {
        totals::count_end(mini, cause);
        if let EndCause::ReusedByConnect = cause {
            totals::count_reused(by);
        }
        ended::report(mini, cause, by);
    }
    let _ = MINIS.remove(mini.0);
}
