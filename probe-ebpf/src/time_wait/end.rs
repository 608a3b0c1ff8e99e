//! Ends of mini-sockets and their causes.
//!
//! inet_twsk_kill() runs once for each mini-socket. Its caller shows the cause: tw_timer_handler() (expired), a
//! connect() to which tcp_twsk_unique() gave the tuple, a tcp_timewait_state_process() that returned TCP_TW_SYN, or the
//! end of the namespace. The rest are RSTs and destruction from outside (net/ipv4/inet_timewait_sock.c,
//! tcp_minisocks.c). The timer tier sees the same ends through the mini-socket's timer.

use twtrace_wire::EndCause;

use crate::{
    constants::offset,
    events::ended,
    maps::{EXPIRING, REOPENING, REUSERS, counting},
    mini_sockets::{
        kept::{forget, mini_conn, promoted},
        mini::namespace_goes,
    },
    records::{Actor, Expiring, NOBODY},
    sockets::{
        read::{now_ns, read},
        sock::Sock,
        state,
    },
    totals,
};

/// `enum tcp_tw_status` (include/net/tcp.h).
const TCP_TW_ACK: u32 = 2;
const TCP_TW_SYN: u32 = 3;

/// A mini-socket that a SYN ends does so in the same call chain. The bound allows for a virtual CPU that is paused in
/// between.
const REOPENING_NS: u64 = 100_000_000;

/// `tw_timer_handler(timer)`: the next mini-socket to end on this CPU is the timer's.
#[inline(always)]
pub fn expiring(timer: u64) {
    let mini = timer - offset!(tw_timer) as u64;
    if let Some(slot) = EXPIRING.get_ptr_mut(0) {
        // SAFETY: a per-CPU slot; timers of one CPU don't interrupt each other.
        unsafe {
            if (*slot).is_reported == 0 || !(*slot).is_of(mini) {
                *slot = Expiring::new(mini, false);
            }
        }
    }
}

/// Kprobe tier: `timer_expire_entry(timer, …)`, which comes before `tw_timer_handler(timer)`. If softirq interrupts
/// another kprobe's program, the kernel skips the kprobes of all timers that expire then, but not this hook. It reports
/// the expiry of a mini-socket that is known; `inet_twsk_kill` then finds it reported.
#[inline(always)]
pub fn expired_by_timer(timer: u64) {
    let mini = Sock(timer - offset!(tw_timer) as u64);
    if mini_conn(mini).is_none() || mini.state() != state::TIME_WAIT {
        return;
    }
    if let Some(slot) = EXPIRING.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { *slot = Expiring::new(mini.0, true) }
    }
    tell(mini, EndCause::Expired, &NOBODY);
}

/// The time of a mini-socket's timer in jiffies, by which an entry of [`EXPIRING`] and another mini-socket at that
/// address, which expires later, are told apart.
#[inline(always)]
fn expires(mini: u64) -> u64 {
    read(mini + offset!(tw_timer) as u64, offset!(timer_expires))
}

impl Expiring {
    #[inline(always)]
    fn new(mini: u64, is_reported: bool) -> Self {
        Self {
            mini,
            expires: expires(mini),
            is_reported: is_reported as u64,
        }
    }

    #[inline(always)]
    fn is_of(&self, mini: u64) -> bool {
        self.mini == mini && self.expires == expires(mini)
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
            if (*slot).is_of(mini.0) {
                let is_reported = (*slot).is_reported != 0;
                (*slot).mini = 0;
                if !is_reported {
                    tell(mini, EndCause::Expired, &NOBODY);
                }
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
    forget(mini);
}
