//! Searches for a local port by a connect for which no system call was seen (system-call tier):
//! - sendto() and sendmsg() with MSG_FASTOPEN, whose hooks would cost every message of the host
//! - io_uring
//! - 32-bit programs
//! - the kernel's own sockets
//! - a connect() whose hook the kernel skipped
//!
//! All of them pass SYN_SENT in the context of the connecting task. The search is counted there, without a latency. The
//! socket's next state shows the result. Until then the connection state carries the search, so that it needs no entry
//! of its own.

use twtrace_wire::{PortEvent, PortOp, Probe, ReuseRefusal, flags};

use crate::{
    constants::config,
    events::wakeup,
    maps::{EVENTS, lost::count_lost},
    ports::search::{count_stack, fill, range_searched},
    processes::stack::Ctx,
    records::{Conn, SEARCHES_UNCALLED},
    slots::conn,
    sockets::sock::Sock,
    totals::ports::{count_failed, count_search},
};

/// The error of inet_hash_connect() if no port is left. (ENOMEM of an allocation looks the same here.)
const EADDRNOTAVAIL: u16 = 99;

/// Whether the hook's other program has counted this search. The mark is cleared when the result is known, at the
/// latest with the socket. A mark left by an earlier socket costs the count of one search, never a process name.
#[inline(always)]
pub fn is_counted(sock: Sock) -> bool {
    // SAFETY: the entry of a live socket.
    conn::alive(sock).is_some_and(|conn| unsafe { (*conn).flags } & SEARCHES_UNCALLED != 0)
}

/// SYN_SENT of a socket whose connection state has just begun and has its opener: counts the search.
///
/// # Safety
/// `conn` is the entry of a live socket.
#[inline(always)]
pub unsafe fn began(sock: Sock, conn: *mut Conn, is_counted: bool) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*conn).flags |= SEARCHES_UNCALLED;
        (*conn).requested = sock.local_port();
        if !is_counted {
            let key = (*conn).opener.key;
            count_search(
                key.tgid as u64 | (key.unattributed as u64) << 32,
                key.start_boot_ns,
                PortOp::Connect as u64,
                0,
                (flags::UNTIMED as u64) << 32,
            );
        }
    }
}

/// The connection is established: a port was found.
///
/// # Safety
/// `conn` is the entry of a live socket.
#[inline(always)]
pub unsafe fn established(sock: Sock, conn: *mut Conn) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if (*conn).flags & SEARCHES_UNCALLED != 0 {
            (*conn).flags &= !SEARCHES_UNCALLED;
            tell_found(sock);
        }
    }
}

/// The connection is in CLOSE: `now`, or as found when the socket is destroyed. Where inet_hash_connect() fails,
/// tcp_v4_connect() and tcp_v6_connect() set CLOSE at once, in the same context.
#[inline(always)]
pub fn closed(ctx: Ctx, sock: Sock, conn: &mut Conn, now: bool) {
    if conn.flags & SEARCHES_UNCALLED == 0 {
        return;
    }
    conn.flags &= !SEARCHES_UNCALLED;
    // A successful search for any port sets the port; any successful search enters the socket under its hash. Both
    // remain.
    let is_without_port = sock.source_port() == 0;
    let is_bound = conn.requested != 0;
    if is_without_port || (is_bound && sock.hash() == 0) {
        count_failed(conn);
        if now && config!(stacks) != 0 {
            count_stack(ctx, EADDRNOTAVAIL, flags::UNTIMED, 0, &conn.opener);
        }
        report_uncalled(sock.0, EADDRNOTAVAIL as u64);
    } else if !is_bound || sock.error() != 0 {
        tell_found(sock);
    }
    // Otherwise it had a connection before and may still have its hash: the result is not known.
}

#[inline(always)]
fn tell_found(sock: Sock) {
    if config!(slow_port_ns) == 0 || config!(tell_special) != 0 {
        report_uncalled(sock.0, 0);
    }
}

/// Reports the search of a socket if it failed, if all searches are reported, or if it used its socket's own port
/// range. A global function: the verifier checks it on its own, once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_uncalled(sock: u64, errno: u64) -> u32 {
    let Some(conn) = conn::find(sock) else {
        return 1;
    };
    let sock = Sock(sock);
    // SAFETY: the entry of a live socket.
    let conn = unsafe { &*conn };
    let own_range = range_searched(sock, PortOp::Connect as u32, conn.requested as u32);
    if errno == 0 && config!(slow_port_ns) != 0 && own_range == [0; 2] {
        return 0;
    }
    let Some(mut entry) = EVENTS.reserve::<PortEvent>(0) else {
        count_lost(Probe::PortAlloc);
        return 1;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: `event` is the reserved record; every field of it is written before it is submitted.
    unsafe {
        let more = sock.fill_tuple(&mut (*event).tuple, sock.source_port());
        (*event).requested = conn.requested;
        (*event).flags = flags::UNTIMED | more;
        (*event).refused = [0; ReuseRefusal::COUNT];
        fill(
            event,
            PortOp::Connect as u32,
            errno as u16,
            0,
            own_range,
            &conn.opener,
        );
    }
    entry.submit(wakeup());
    0
}
