//! Searches for a local port as seen through bind(), listen() and connect() (system-call tier).
//!
//! A call is not a search: most of its errors come before one. The kernel searches in connect() after SYN_SENT
//! (tcp_v4_connect), in listen() after LISTEN (inet_csk_listen_start), and in bind() as the last step (__inet_bind),
//! whose other errors differ from that of the search.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_user};
use twtrace_wire::{PortEvent, PortOp, Probe, ReuseRefusal, Tuple, flags};

use crate::{
    constants::config,
    events::wakeup,
    maps::{EVENTS, counting, lost::count_lost},
    ports::no_address::{self, Asked, EADDRNOTAVAIL},
    ports::search::{count_own_search, count_stack, fill, range_searched},
    processes::{process::actor, stack::Ctx},
    records::Call,
    slots::call,
    sockets::{
        descriptor::{file_of, socket_of_file, waits},
        read::now_ns,
        sock::{IPPROTO_MPTCP, IPPROTO_TCP, Sock},
    },
    totals::ports::count_connected,
};

/// Errors of a failed search in connect(), beside EADDRNOTAVAIL if no port is left: no memory, or refused by a cgroup
/// program.
const ENOMEM: u16 = 12;
const EPERM: u16 = 1;
/// Error of a failed search in bind() and listen(). bind() returns EACCES, EADDRNOTAVAIL (an address that is not
/// local), EINVAL and the like before it searches.
const EADDRINUSE: u16 = 98;
/// Result of a connect() that does not wait for the handshake.
const EINPROGRESS: u16 = 115;

/// A system call begins.
#[inline(always)]
pub fn entered(op: PortOp, descriptor: u64, address: u64) {
    let call = Call {
        descriptor,
        address,
        began_ns: if matches!(op, PortOp::Bind) {
            now_ns()
        } else {
            0
        },
        op: op as u32,
        requested: 0,
        own_range: [0; 2],
        reserved: 0,
        sock: 0,
    };
    call::begin(bpf_get_current_pid_tgid(), &call);
}

/// SYN_SENT: the search of the connect() in progress begins. Returns whether there is one; otherwise something else
/// connects.
#[inline(always)]
pub fn connect_began(sock: Sock) -> bool {
    began(PortOp::Connect, sock)
}

/// LISTEN: the search of the listen() in progress begins. listen() on a socket that already listens changes no state
/// and searches for no port.
#[inline(always)]
pub fn listen_began(sock: Sock) {
    began(PortOp::Listen, sock);
}

/// Records the start of a search. A socket that is bound searches for its own port.
#[inline(always)]
fn began(op: PortOp, sock: Sock) -> bool {
    let Some(call) = call::find(bpf_get_current_pid_tgid()) else {
        return false;
    };
    // SAFETY: only this thread writes this entry.
    unsafe {
        // A call whose return was missed because the kernel skipped our program.
        if (*call).op != op as u32 {
            return false;
        }
        (*call).sock = sock.0;
        (*call).began_ns = now_ns();
        (*call).requested = sock.local_port() as u32;
        (*call).own_range = range_searched(sock, (*call).op, (*call).requested);
    }
    true
}

/// A system call returns.
///
/// Global functions do the rest, as in [`search::returned`](crate::ports::search::returned).
#[inline(always)]
pub fn returned(ctx: Ctx, result: i64) {
    let thread = bpf_get_current_pid_tgid();
    let Some(call) = call::find(thread) else {
        return;
    };
    // SAFETY: only this thread writes this entry.
    let (op, own_range, began_ns, searched) = unsafe {
        (
            (*call).op,
            (*call).own_range,
            (*call).began_ns,
            (*call).sock,
        )
    };
    if result == -(EADDRNOTAVAIL as i64) && (began_ns == 0 || op == PortOp::Bind as u32) {
        without_search(thread, op);
    } else if began_ns != 0 && counting::has_begun() {
        let latency_ns = now_ns().wrapping_sub(began_ns);
        let is_connect = op == PortOp::Connect as u32;
        if is_connect && result == 0 && own_range == [0; 2] && latency_ns < config!(slow_port_ns) {
            count_connected();
        } else {
            // SAFETY: as above.
            let file = file_of(unsafe { (*call).descriptor });
            let sock = socket_of_file(file);
            let Some(outcome) = outcome_of(op, result, waits(file)) else {
                return call::forget(thread);
            };
            if searched != 0 && !is_still(sock, searched) {
                of_replaced(op, latency_ns, outcome);
            } else if sock != 0 {
                found(ctx, thread, sock, op, latency_ns, outcome);
            }
        }
    }
    call::forget(thread);
}

/// Reports a call that failed with EADDRNOTAVAIL, if it has certainly searched for no port.
#[inline(always)]
fn without_search(thread: u64, op: u32) {
    if !counting::has_begun() {
        return;
    }
    let Some(call) = call::find(thread) else {
        return;
    };
    // SAFETY: only this thread writes this entry.
    let (descriptor, address) = unsafe { ((*call).descriptor, (*call).address) };
    let sock = Sock(socket_of_file(file_of(descriptor)));
    if sock.0 == 0 {
        return;
    }
    let op = match sock.protocol() {
        IPPROTO_TCP | IPPROTO_MPTCP if op == PortOp::Bind as u32 => PortOp::Bind,
        IPPROTO_TCP if op == PortOp::Connect as u32 && no_address::never_searched(sock) => {
            PortOp::Connect
        }
        _ => return,
    };
    no_address::report(sock, op, &asked(address));
}

/// Whether the socket of the descriptor is the one that searched; of an MPTCP socket, its first subflow does.
#[inline(always)]
fn is_still(sock: u64, searched: u64) -> bool {
    sock == searched || sock != 0 && Sock(searched).mptcp_socket() == sock
}

/// Counts a search whose descriptor was closed, or given to another socket, while the call waited. Its own socket may be
/// gone by now, so there is no event.
#[inline(always)]
fn of_replaced(op: u32, latency_ns: u64, (errno, how): (u16, u16)) {
    let outcome = errno as u64 | (how as u64) << 32;
    count_own_search(0, op as u64, latency_ns, outcome);
    if errno != 0 || latency_ns >= config!(slow_port_ns) {
        count_lost(Probe::PortAlloc);
    }
}

/// Counts and reports a search whose socket is known.
#[inline(always)]
fn found(ctx: Ctx, thread: u64, sock: u64, op: u32, latency_ns: u64, (errno, how): (u16, u16)) {
    match Sock(sock).protocol() {
        IPPROTO_TCP | IPPROTO_MPTCP => {}
        _ => return,
    }
    if op == PortOp::Bind as u32 && errno == 0 && Sock(sock).local_port() == 0 {
        // IP_BIND_ADDRESS_NO_PORT: the search is deferred to connect().
        return;
    }
    let outcome = errno as u64 | (how as u64) << 32;
    count_own_search(sock, op as u64, latency_ns, outcome);
    if config!(stacks) != 0 {
        count_stack(ctx, errno, how, latency_ns, &actor(Sock(sock)));
    }
    if errno != 0 || latency_ns >= config!(slow_port_ns) || config!(tell_special) != 0 {
        report_call(thread, sock, latency_ns, outcome);
    }
}

/// What the result of a call shows of the search: errno and flags. `None`: as far as known, there was no search.
/// `waits`: whether connect() waits for the peer, until its SO_SNDTIMEO.
#[inline(always)]
fn outcome_of(op: u32, result: i64, waits: bool) -> Option<(u16, u16)> {
    let errno = if result < 0 {
        result.wrapping_neg() as u16
    } else {
        0
    };
    if op == PortOp::Connect as u32 {
        // After a successful search connect() waits for the peer.
        return Some(match errno {
            EADDRNOTAVAIL | ENOMEM | EPERM => (errno, 0),
            EINPROGRESS if !waits => (0, 0),
            _ => (0, flags::UNTIMED),
        });
    }
    match errno {
        0 | EADDRINUSE => Some((errno, 0)),
        // The search succeeded, and listen() failed later.
        _ if op == PortOp::Listen as u32 => Some((0, 0)),
        _ => None,
    }
}

/// Reports the search of this thread's call if it failed, was slow, or used its socket's own port range. A global
/// function, see [`count_own_search`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_call(thread: u64, sock: u64, latency_ns: u64, outcome: u64) -> u32 {
    let (errno, how) = (outcome as u16, (outcome >> 32) as u16);
    let Some(call) = call::find(thread) else {
        return 1;
    };
    // SAFETY: only this thread writes this entry.
    let call = unsafe { &*call };
    if errno == 0 && latency_ns < config!(slow_port_ns) && call.own_range == [0; 2] {
        return 0;
    }
    let Some(mut entry) = EVENTS.reserve::<PortEvent>(0) else {
        count_lost(Probe::PortAlloc);
        return 1;
    };
    let event = entry.as_mut_ptr();
    let sock = Sock(sock);
    // SAFETY: `event` is the reserved record; every field of it is written before it is submitted. It is written in
    // place, since the verifier also compares what is on the stack.
    unsafe {
        let tuple = &mut (*event).tuple;
        let mut more = sock.fill_tuple(tuple, sock.local_port());
        if call.op != PortOp::Connect as u32 {
            tuple.remote = [0; 16];
            tuple.remote_port = 0;
        }
        (*event).requested = call.requested as u16;
        if call.address != 0 {
            more |= fill_asked(call, errno, event);
        }
        (*event).flags = how | more;
        (*event).refused = [0; ReuseRefusal::COUNT];
        let process = actor(sock);
        fill(event, call.op, errno, latency_ns, call.own_range, &process);
    }
    entry.submit(wakeup());
    0
}

/// Fills the event from the user's `struct sockaddr`: what bind() requested, or the destination of connect(). A call
/// that failed has cleared it from the socket. Returns event flags.
///
/// # Safety
/// `event` is valid for writes, and its tuple is initialised.
#[inline(always)]
unsafe fn fill_asked(call: &Call, errno: u16, event: *mut PortEvent) -> u16 {
    let of_user = asked(call.address);
    let mut asked = Tuple::default();
    let Some(flags) = of_user.write(&mut asked) else {
        return 0;
    };
    let port = of_user.port;
    // SAFETY: guaranteed by the caller.
    unsafe {
        let tuple = &mut (*event).tuple;
        if call.op == PortOp::Connect as u32 {
            if errno != 0 || tuple.remote_port == 0 {
                tuple.remote = asked.remote;
                tuple.remote_port = port;
                tuple.ip_version = asked.ip_version;
            }
            return flags;
        }
        (*event).requested = port;
        if errno != 0 {
            tuple.local = asked.local;
            tuple.local_port = port;
            tuple.ip_version = asked.ip_version;
        }
    }
    flags
}

/// What the user's `struct sockaddr` says.
#[inline(always)]
fn asked(address: u64) -> Asked {
    Asked::from_words(|offset| read_user(address, offset))
}

#[inline(always)]
fn read_user<T: Copy>(base: u64, offset: u64) -> T {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the destination is a local variable of the given size. The helper checks the source itself and writes
    // zeros if it cannot be read, so that the destination is always initialised.
    unsafe {
        bpf_probe_read_user(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + offset) as *const _,
        );
        value.assume_init()
    }
}
