//! Searches for a local port: their duration and their failures.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use twtrace_wire::{EventKind, PortEvent, PortOp, Probe, ReuseRefusal, StackWhat, flags};

use crate::{
    constants::config,
    events::wakeup,
    maps::{EVENTS, SEARCHES, counting, lost::count_lost},
    processes::{
        names,
        process::actor,
        stack::{self, Ctx},
    },
    records::{Actor, Search},
    sockets::{
        read::now_ns,
        sock::{IPPROTO_TCP, Sock},
        state,
    },
    totals::{self, ports::count_search, sites},
};

/// The errno of every failure of inet_csk_get_port(), whatever it returns (1 in 5.10, -EADDRINUSE later).
const EADDRINUSE: u16 = 98;

/// `inet_csk_get_port(sk, snum)` begins: bind(), or listen(), which searches again even if the socket is bound.
#[inline(always)]
pub fn get_port_entered(sock: u64, requested: u16) {
    let op = if Sock(sock).state() == state::LISTEN {
        PortOp::Listen
    } else {
        PortOp::Bind
    };
    entered(sock, op, requested);
}

/// `inet_hash_connect(death_row, sk)` or `inet6_hash_connect(death_row, sk)` begins.
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

/// The search of this thread met a TIME_WAIT whose tuple it could not take.
#[inline(always)]
pub fn refused(why: ReuseRefusal) {
    if let Some(search) = SEARCHES.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: only this thread writes this entry, and codes run from 0 to COUNT - 1.
        unsafe { (*search).refused[why as usize] += 1 }
    }
}

/// One of these functions returns.
///
/// [Global functions](count_search) do the rest. Otherwise the verifier would check a search that is counted, one that
/// met TIME_WAITs and one that is reported in each combination with the kind of process that searches.
#[inline(always)]
pub fn returned(ctx: Ctx, result: i32) {
    let thread = bpf_get_current_pid_tgid();
    let Some(search) = SEARCHES.get_ptr(thread) else {
        return;
    };
    // SAFETY: only this thread writes this entry; an LRU entry that is recycled still consists of integers.
    let search = unsafe { &*search };
    if !counting::has_begun() {
        let _ = SEARCHES.remove(thread);
        return;
    }
    let sock = Sock(search.sock);
    let errno = if result == 0 {
        0
    } else if search.op == PortOp::Connect as u32 {
        result.wrapping_neg() as u16
    } else {
        EADDRINUSE
    };
    let latency_ns = now_ns().wrapping_sub(search.began_ns);
    let operation = search.op as u64 | EXACT;
    count_own_search(sock.0, operation, latency_ns, errno as u64);
    if config!(stacks) != 0 {
        count_stack(ctx, errno, 0, latency_ns, &actor(sock));
    }
    let mut met = 0;
    for number in &search.refused {
        met |= *number;
    }
    if met != 0 {
        count_hindered(thread);
    }
    let is_special = config!(tell_special) != 0
        && (met != 0 || range_searched(sock, search.op, search.requested) != [0; 2]);
    if errno != 0 || latency_ns >= config!(slow_port_ns) || is_special {
        report_search(thread, latency_ns, errno as u64);
    }
    let _ = SEARCHES.remove(thread);
}

/// Flag beside the operation, in the upper half of the same number: the search itself was seen.
const EXACT: u64 = 1 << 32;

/// Counts a search of the current process. A global function, see [`count_search`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_own_search(
    sock: u64,
    operation: u64,
    latency_ns: u64,
    outcome: u64,
) -> u32 {
    let key = actor(Sock(sock)).key;
    count_search(
        key.tgid as u64 | (key.unattributed as u64) << 32,
        key.start_boot_ns,
        operation,
        latency_ns,
        outcome,
    )
}

/// Counts the TIME_WAITs that this thread's search met and could not take. A global function, see [`count_search`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_hindered(thread: u64) -> u32 {
    let Some(search) = SEARCHES.get_ptr(thread) else {
        return 1;
    };
    // SAFETY: as in `returned`.
    let search = unsafe { &*search };
    totals::count_refused(&actor(Sock(search.sock)), &search.refused);
    0
}

/// Reports the search of this thread as an event. A global function, see [`count_search`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_search(thread: u64, latency_ns: u64, errno: u64) -> u32 {
    let Some(search) = SEARCHES.get_ptr(thread) else {
        return 1;
    };
    let Some(mut entry) = EVENTS.reserve::<PortEvent>(0) else {
        count_lost(Probe::PortAlloc);
        return 1;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: `search` as in `returned`. `event` is the reserved record; every field of it is written before it is
    // submitted. It is written in place, since the verifier also compares what is on the stack.
    unsafe {
        let search = &*search;
        let sock = Sock(search.sock);
        let requested = search.requested as u16;
        let more = sock.fill_tuple(&mut (*event).tuple, sock.local_port());
        if (*event).tuple.local_port == 0 {
            (*event).tuple.local_port = requested;
        }
        if search.op != PortOp::Connect as u32 {
            (*event).tuple.remote = [0; 16];
            (*event).tuple.remote_port = 0;
        }
        (*event).requested = requested;
        (*event).flags = flags::EXACT | more;
        (*event).refused = search.refused;
        let own_range = range_searched(sock, search.op, search.requested);
        let process = actor(sock);
        fill(
            event,
            search.op,
            errno as u16,
            latency_ns,
            own_range,
            &process,
        );
    }
    entry.submit(wakeup());
    0
}

/// Writes the fields that all events of searches have.
///
/// # Safety
/// `event` may be written.
#[inline(always)]
pub unsafe fn fill(
    event: *mut PortEvent,
    op: u32,
    errno: u16,
    latency_ns: u64,
    own_range: [u16; 2],
    process: &Actor,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*event).mono_ns = now_ns();
        (*event).kind = EventKind::PortAlloc as u8;
        (*event).op = op as u8;
        (*event).errno = errno;
        (*event).latency_ns = latency_ns;
        [(*event).range_low, (*event).range_high] = own_range;
        names::fill(&mut (*event).process, process);
    }
}

/// The socket's own port range if connect() searches for any port, else zeros.
#[inline(always)]
pub fn range_searched(sock: Sock, op: u32, requested: u32) -> [u16; 2] {
    if op == PortOp::Connect as u32 && requested == 0 {
        sock.own_port_range()
    } else {
        [0; 2]
    }
}

/// Counts the place in the code whose search failed or was slow.
#[inline(always)]
pub fn count_stack(ctx: Ctx, errno: u16, how: u16, latency_ns: u64, process: &Actor) {
    if config!(stacks) == 0 {
        return;
    }
    let what = if errno != 0 {
        StackWhat::PortFailed
    } else if how & flags::UNTIMED == 0 && latency_ns >= config!(stack_slow_port_ns) {
        StackWhat::PortSlow
    } else {
        return;
    };
    sites::count(stack::site(ctx, process), what);
}
