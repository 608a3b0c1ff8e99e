//! Searches for a local port: how long they take, and how they fail.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use twtrace_wire::{
    EventKind, LATENCY_BUCKETS, PortEvent, PortKey, PortOp, PortTotals, Probe, ReuseRefusal,
    StackWhat, Tuple, bucket_of_ns, flags,
};

use crate::{
    constants::config,
    emit::wakeup,
    kernel::{IPPROTO_TCP, Sock, now_ns, state},
    maps::{EVENTS, PORTS, SEARCHES, count_lost, in_this_epoch, increment, increment_u32},
    process::{self, actor},
    records::{Actor, Search},
    reuse,
    stack::{self, Ctx},
};

/// What inet_csk_get_port() stands for, whatever it returns (1 in 5.10, -EADDRINUSE later).
const EADDRINUSE: u16 = 98;

/// BPF_NOEXIST
const NO_EXIST: u64 = 1;

static NO_PORTS: PortTotals = PortTotals {
    count: 0,
    failures: 0,
    untimed: 0,
    max_ns: 0,
    buckets: [0; LATENCY_BUCKETS],
};

/// What a search came to.
#[repr(C)]
pub struct Outcome {
    pub op: u32,
    pub requested: u16,
    pub errno: u16,
    pub latency_ns: u64,
    pub flags: u16,
    pub refused: [u32; ReuseRefusal::COUNT],
    /// The socket's own range of ports, where connect() looked through that.
    pub own_range: [u16; 2],
}

/// `inet_csk_get_port(sk, snum)` begins: bind(), or listen(), which looks again even if bound.
#[inline(always)]
pub fn get_port_entered(sock: u64, requested: u16) {
    let op = if Sock(sock).state() == state::LISTEN {
        PortOp::Listen
    } else {
        PortOp::Bind
    };
    entered(sock, op, requested);
}

/// `inet_hash_connect(death_row, sk)` or its twin of IPv6 begins.
#[inline(always)]
pub fn hash_connect_entered(sock: u64) {
    entered(sock, PortOp::Connect, Sock(sock).local_port());
}

#[inline(always)]
fn entered(sock: u64, op: PortOp, requested: u16) {
    if Sock(sock).protocol() != IPPROTO_TCP {
        return;
    }
    let search = Search {
        sock,
        began_ns: now_ns(),
        op: op as u32,
        requested: requested as u32,
        refused: [0; ReuseRefusal::COUNT],
        reserved: 0,
    };
    let _ = SEARCHES.insert(bpf_get_current_pid_tgid(), &search, 0);
}

/// The search that this thread is in met a TIME_WAIT and could not take its tuple.
#[inline(always)]
pub fn refused(why: ReuseRefusal) {
    if let Some(search) = SEARCHES.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: only this thread writes this entry, and codes run from 0 to COUNT - 1.
        unsafe { (*search).refused[why as usize] += 1 }
    }
}

/// Any of these functions returns.
#[inline(always)]
pub fn returned(ctx: Ctx, result: i32) {
    let thread = bpf_get_current_pid_tgid();
    let Some(search) = SEARCHES.get_ptr(thread) else {
        return;
    };
    // SAFETY: only this thread writes this entry.
    let search = unsafe { *search };
    let _ = SEARCHES.remove(thread);
    let errno = if result == 0 {
        0
    } else if search.op == PortOp::Connect as u32 {
        result.wrapping_neg() as u16
    } else {
        EADDRINUSE
    };
    let sock = Sock(search.sock);
    let outcome = Outcome {
        op: search.op,
        requested: search.requested as u16,
        errno,
        latency_ns: now_ns().wrapping_sub(search.began_ns),
        flags: flags::EXACT,
        refused: search.refused,
        own_range: range_searched(sock, search.op, search.requested),
    };
    let mut tuple = Tuple::default();
    let more = sock.fill_tuple(&mut tuple, sock.local_port());
    if tuple.local_port == 0 {
        tuple.local_port = outcome.requested;
    }
    if outcome.op != PortOp::Connect as u32 {
        tuple.remote = [0; 16];
        tuple.remote_port = 0;
    }
    finished(ctx, &outcome, &tuple, more, &actor(sock));
}

/// The socket's own range, where connect() looked for any port.
#[inline(always)]
pub fn range_searched(sock: Sock, op: u32, requested: u32) -> [u16; 2] {
    if op == PortOp::Connect as u32 && requested == 0 {
        sock.own_port_range()
    } else {
        [0; 2]
    }
}

/// Counts a search and, if it failed, was slow or is to be told for what it met, reports it.
#[inline(always)]
pub fn finished(ctx: Ctx, outcome: &Outcome, tuple: &Tuple, more: u16, process: &Actor) {
    let key = PortKey {
        process: process.key,
        op: outcome.op,
        exact: (outcome.flags & flags::EXACT != 0) as u32,
    };
    count(&key, outcome);
    count_stack(ctx, outcome, process);
    let hindered = reuse::count_refused(process, &outcome.refused);
    let [range_low, range_high] = outcome.own_range;
    let is_special = hindered || range_low != 0 || range_high != 0;
    let is_told = outcome.errno != 0
        || outcome.latency_ns >= config!(slow_port_ns)
        || is_special && config!(tell_special) != 0;
    if !is_told {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<PortEvent>(0) else {
        count_lost(Probe::PortAlloc);
        return;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: `event` is the reserved record; every field of it is written before it is submitted.
    unsafe {
        (*event).mono_ns = now_ns();
        (*event).kind = EventKind::PortAlloc as u8;
        (*event).op = outcome.op as u8;
        (*event).requested = outcome.requested;
        (*event).errno = outcome.errno;
        (*event).flags = outcome.flags | more;
        (*event).tuple = *tuple;
        (*event).latency_ns = outcome.latency_ns;
        (*event).refused = outcome.refused;
        (*event).range_low = range_low;
        (*event).range_high = range_high;
        process::fill(&mut (*event).process, process);
    }
    entry.submit(wakeup());
}

/// Where in the code a search failed or was slow.
#[inline(always)]
fn count_stack(ctx: Ctx, outcome: &Outcome, process: &Actor) {
    if config!(stacks) == 0 {
        return;
    }
    let what = if outcome.errno != 0 {
        StackWhat::PortFailed
    } else if outcome.flags & flags::UNTIMED == 0
        && outcome.latency_ns >= config!(stack_slow_port_ns)
    {
        StackWhat::PortSlow
    } else {
        return;
    };
    stack::count(stack::site(ctx, process), what);
}

/// The totals of a process and operation, made where missing.
#[inline(always)]
pub fn totals_of(key: &PortKey) -> Option<*mut PortTotals> {
    if let Some(totals) = PORTS.get_ptr_mut(key) {
        return Some(totals);
    }
    let _ = PORTS.insert(key, &NO_PORTS, NO_EXIST);
    let totals = PORTS.get_ptr_mut(key);
    if totals.is_none() {
        count_lost(Probe::PortMap);
    }
    totals
}

#[inline(always)]
fn count(key: &PortKey, outcome: &Outcome) {
    let key = &PortKey {
        process: in_this_epoch(key.process),
        ..*key
    };
    let Some(totals) = totals_of(key) else {
        return;
    };
    // SAFETY: all inside the map value. Two threads of one process may race for the maximum; the
    // histogram has both.
    unsafe {
        increment(&raw mut (*totals).count);
        if outcome.errno != 0 {
            increment(&raw mut (*totals).failures);
        }
        if outcome.flags & flags::UNTIMED != 0 {
            increment(&raw mut (*totals).untimed);
            return;
        }
        if (*totals).max_ns < outcome.latency_ns {
            (*totals).max_ns = outcome.latency_ns;
        }
        // The verifier must see the bound that is used.
        let bucket =
            core::hint::black_box(bucket_of_ns(outcome.latency_ns)) & (LATENCY_BUCKETS - 1);
        increment_u32((&raw mut (*totals).buckets).cast::<u32>().add(bucket));
    }
}
