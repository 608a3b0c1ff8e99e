//! Counters in the kernel, by process and by network namespace, and their corrections.

pub mod entries;
pub mod ports;
pub mod sites;

use twtrace_wire::{
    AbortReason, EndCause, EventKind, NetnsKey, ProcessKey, ProcessTotals, ResetDirection,
    ResetReason, ReuseRefusal, Side,
};

use entries::{of_netns, of_process};

use crate::{
    maps::atomic::{add, increment},
    mini_sockets::{age::stranger_reason, kept::mini_conn},
    records::{Actor, Conn, Fact},
    sockets::{sock::Sock, state, tuple::netns_key},
};

/// Counts a fact under a process. `amount`: 1, or -1 in two's complement.
#[inline(always)]
pub fn count(fact: &Fact, side: u8, key: &ProcessKey, amount: u64) {
    let Some(totals) = of_process(key) else {
        return;
    };
    let totals: *mut ProcessTotals = totals;
    // SAFETY: all of these are inside the map value.
    unsafe {
        match fact.kind {
            EventKind::TimeWait => {
                add_to_slot::<{ Side::COUNT }>(&raw mut (*totals).time_wait, side, amount);
                if fact.state == state::FIN_WAIT2 {
                    add_to_slot::<{ Side::COUNT }>(&raw mut (*totals).fin_wait2, side, amount);
                }
            }
            EventKind::TimeWaitOverflow => {
                add_to_slot::<{ Side::COUNT }>(&raw mut (*totals).overflow, side, amount);
            }
            EventKind::Reset => {
                let counters = if fact.from == ResetDirection::Sent as u8 {
                    &raw mut (*totals).reset_sent
                } else {
                    &raw mut (*totals).reset_received
                };
                add_to_slot::<{ ResetReason::COUNT }>(counters, fact.reason, amount);
            }
            EventKind::Abort => {
                add_to_slot::<{ AbortReason::COUNT }>(
                    &raw mut (*totals).abort,
                    fact.reason,
                    amount,
                );
            }
            EventKind::PortAlloc | EventKind::TimeWaitEnd | EventKind::NoAddress => {}
        }
    }
}

/// Takes back a fact about a full socket that proves to be another one, after it was counted and reported.
#[inline(always)]
pub fn uncount(fact: &Fact, conn: &Conn, charged: &Actor) {
    const MINUS_ONE: u64 = u64::MAX;
    count(fact, conn.side, &charged.key, MINUS_ONE);
    sites::count_fact(fact, conn.site, MINUS_ONE);
}

/// Counts a sent RST in the namespace where the kernel counts it (Tcp OutRsts). It is never taken back: [`uncount`] is
/// for received RSTs and TIME_WAITs.
#[inline(always)]
pub fn count_sent(fact: &Fact, net: u64) {
    if matches!(fact.kind, EventKind::Reset) && fact.from == ResetDirection::Sent as u8 {
        add_sent(net);
    }
}

#[inline(never)]
fn add_sent(net: u64) -> u32 {
    if let Some(totals) = of_netns(netns_key(net)) {
        // SAFETY: inside the map value.
        unsafe { increment(&raw mut (*totals).resets_sent) }
    }
    0
}

/// Counts a connection that an abort or a RST ended, in the namespace where the kernel counts it (Tcp EstabResets:
/// tcp_set_state(), ESTABLISHED or CLOSE_WAIT → CLOSE, the same in 5.10 to 7.3).
#[inline(never)]
pub fn add_connection_reset(net: u64) -> u32 {
    if let Some(totals) = of_netns(netns_key(net)) {
        // SAFETY: inside the map value.
        unsafe { increment(&raw mut (*totals).connections_reset) }
    }
    0
}

/// Counts a mini-socket that was created or refused. `amount`: 1, or -1 in two's complement.
#[inline(always)]
pub fn count_birth(netns: NetnsKey, refused: bool, inferred: bool, amount: u64) {
    if let Some(totals) = of_netns(netns) {
        // SAFETY: inside the map value.
        unsafe {
            if refused {
                add(&raw mut (*totals).overflow, amount);
            } else {
                add(&raw mut (*totals).births, amount);
            }
            if inferred {
                add(&raw mut (*totals).inferred, amount);
            }
        }
    }
}

/// Counts the end of a mini-socket under the process that created it, and in its namespace.
#[inline(always)]
pub fn count_end(mini: Sock, cause: EndCause) {
    if let Some(totals) = of_netns(mini.netns_key()) {
        // SAFETY: inside the map value.
        unsafe {
            increment(&raw mut (*totals).ends);
            if cause as u8 == EndCause::ReusedByConnect as u8 {
                increment(&raw mut (*totals).reused);
            }
        }
    }
    let key = match mini_conn(mini) {
        Some(kept) => kept.closer.key,
        None => Actor::nobody(stranger_reason(mini)).key,
    };
    add_end(&key, cause, 1);
}

/// Takes back an end that was counted too early.
#[inline(always)]
pub fn uncount_end(netns: NetnsKey, key: &ProcessKey, cause: EndCause) {
    if let Some(totals) = of_netns(netns) {
        // SAFETY: inside the map value; adding -1 wraps to a subtraction.
        unsafe { add(&raw mut (*totals).ends, u64::MAX) }
    }
    add_end(key, cause, u64::MAX);
}

/// Moves an end that was counted to another cause.
#[inline(always)]
pub fn recount_end(key: &ProcessKey, before: EndCause, now: EndCause) {
    add_end(key, before, u64::MAX);
    add_end(key, now, 1);
}

#[inline(always)]
fn add_end(key: &ProcessKey, cause: EndCause, amount: u64) {
    if let Some(totals) = of_process(key) {
        // SAFETY: inside the map value: a cause is below the number of causes.
        unsafe {
            let first = (&raw mut (*totals).ended).cast::<u64>();
            add(first.add(cause as usize), amount);
        }
    }
}

/// Counts a connect() of this process that took the tuple of a TIME_WAIT.
#[inline(always)]
pub fn count_reused(by: &Actor) {
    if let Some(totals) = of_process(&by.key) {
        // SAFETY: inside the map value.
        unsafe { increment(&raw mut (*totals).reused) }
    }
}

/// Counts the TIME_WAITs that a search of this process met and could not take. Returns whether there were any.
#[inline(always)]
pub fn count_refused(process: &Actor, refused: &[u32; ReuseRefusal::COUNT]) -> bool {
    let mut met = 0;
    for number in refused {
        met |= *number;
    }
    if met == 0 {
        return false;
    }
    if let Some(totals) = of_process(&process.key) {
        // SAFETY: all inside the map value.
        unsafe {
            increment(&raw mut (*totals).hindered);
            let sums = (&raw mut (*totals).refused).cast::<u64>();
            for (why, number) in refused.iter().enumerate() {
                add(sums.add(why), *number as u64);
            }
        }
    }
    true
}

/// Adds to one slot of an array of counters inside a map value.
///
/// # Safety
/// `first` points to `N` counters in a map value.
#[inline(always)]
unsafe fn add_to_slot<const N: usize>(first: *mut [u64; N], index: u8, amount: u64) {
    // The verifier must see the bound on the value that is used: `black_box` keeps it from being moved to another
    // register.
    let index = core::hint::black_box(index as usize) & 15;
    if index < N {
        // SAFETY: below N.
        unsafe { add(first.cast::<u64>().add(index), amount) }
    }
}
