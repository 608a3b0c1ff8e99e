//! Searches for a local port by a connect that no system call was seen for (system-call tier): sendto() and sendmsg() with
//! MSG_FASTOPEN, whose hooks would cost every message of the host, io_uring, 32-bit programs, the kernel's own sockets, and
//! a connect() whose hook the kernel skipped.
//!
//! All of them pass SYN_SENT, in the context of whoever connects. The search is counted there, without a latency. What came of
//! it the socket's next state tells: the connection state of the socket waits for that, so that nothing is kept by an address of its own.

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

/// What inet_hash_connect() returns where no port is left. (ENOMEM, of an allocation, looks the same here.)
const EADDRNOTAVAIL: u16 = 99;

/// Whether the other program of the hook has counted this search. The mark goes when the result is known, at the
/// latest with the socket: one of an earlier socket costs the count of a search, never a name.
#[inline(always)]
pub fn is_counted(sock: Sock) -> bool {
    // SAFETY: the entry of a live socket.
    conn::alive(sock).is_some_and(|conn| unsafe { (*conn).flags } & SEARCHES_UNCALLED != 0)
}

/// SYN_SENT, of a socket whose connection state has just begun and knows its opener.
///
/// # Safety
/// `conn` is the entry of a live socket.
#[inline(always)]
pub unsafe fn began(sock: Sock, conn: *mut Conn, is_counted: bool) {
    // SAFETY: the caller's promise.
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

/// It is established: a port was found.
///
/// # Safety
/// `conn` is the entry of a live socket.
#[inline(always)]
pub unsafe fn established(sock: Sock, conn: *mut Conn) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*conn).flags & SEARCHES_UNCALLED != 0 {
            (*conn).flags &= !SEARCHES_UNCALLED;
            tell_found(sock);
        }
    }
}

/// It is in CLOSE, `now` or as found out when it is destroyed. tcp_v4_connect() and its twin go there at once, in the
/// same context, where inet_hash_connect() fails.
#[inline(always)]
pub fn closed(ctx: Ctx, sock: Sock, conn: &mut Conn, now: bool) {
    if conn.flags & SEARCHES_UNCALLED == 0 {
        return;
    }
    conn.flags &= !SEARCHES_UNCALLED;
    // A search for any port that finds one sets it, and any that succeeds enters the socket under its hash; both stay.
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
    // Else it had a connection before, whose hash it may still have: nothing is known of the result.
}

#[inline(always)]
fn tell_found(sock: Sock) {
    if config!(slow_port_ns) == 0 || config!(tell_special) != 0 {
        report_uncalled(sock.0, 0);
    }
}

/// Reports the search of a socket, if it failed, if all are asked for, or if it was one through a range of its socket's own. A
/// global function: the verifier looks at it by itself, once.
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
