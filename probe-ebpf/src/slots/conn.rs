//! Entries of the connection state maps.
//!
//! Two CPUs may meet a connection's beginning at once: the server's accept() can return the child before softirq, on
//! another one, has taken it to ESTABLISHED. So whoever begins a connection state finds what the other one has written. An entry that
//! is alive is never written over: a slot is claimed by one instruction and is empty then, a map takes an entry only
//! where there is none.

use twtrace_wire::{Probe, Side};

use crate::{
    constants::config,
    maps::{
        CONN_SLOTS, CONNS, CONNS_WERE_FULL, MPTCP,
        atomic::{claim, in_this_order},
        counting, lost,
    },
    records::{CLOSED, Conn, ConnSlot, FORGOTTEN, NEW, STRANGER},
    slots::existing,
    sockets::{sock::Sock, state},
};

/// BPF_NOEXIST
const NO_EXIST: u64 = 1;

/// The connection state of the socket at an address. Not that of an earlier one there, whose end the kernel skipped our programs for.
#[inline(always)]
pub fn find(sock: u64) -> Option<*mut Conn> {
    let conn = at(sock)?;
    // SAFETY: a map value.
    unsafe { is_of_connection(conn, Sock(sock)) }.then_some(conn)
}

/// Whether a connection state is of a socket's connection, as far as it says of which it is: an earlier socket had another one.
///
/// # Safety
/// `conn` is a map value.
#[inline(always)]
unsafe fn is_of_connection(conn: *const Conn, sock: Sock) -> bool {
    // SAFETY: the caller's promise; an integer.
    let hash = unsafe { (*conn).hash };
    hash == 0 || hash == sock.hash()
}

/// What there is for an address: in its slot of [`CONN_SLOTS`], which is found by arithmetic; or in [`CONNS`], where another
/// socket has the slot, or there are none.
#[inline(always)]
fn at(sock: u64) -> Option<*mut Conn> {
    if let Some(slot) = slot(sock) {
        // SAFETY: a map value; a slot changes hands when its socket is destroyed.
        unsafe {
            if (*slot).sock == sock {
                return Some(&raw mut (*slot).conn);
            }
            if (*slot).spilled == 0 {
                return None;
            }
        }
    }
    CONNS.get_ptr_mut(sock)
}

/// The connection state of a socket that has none that is alive, to be filled in place: `NEW` or that of a [`stranger`], or what
/// another CPU has begun at this moment. One that ended in CLOSE, or had another connection, is an earlier socket's.
/// `None`: the map is full.
#[inline(always)]
pub fn begin(sock: u64, new: &'static Conn) -> Option<*mut Conn> {
    let conn = entry(sock)?;
    // SAFETY: the entry of a live socket. What accept() writes into one of an earlier socket, in the moment before this,
    // is lost: then its opener is unknown.
    unsafe {
        if (*conn).flags & CLOSED != 0 || !is_of_connection(conn, Sock(sock)) {
            *conn = NEW;
        }
        if !(*conn).closer.is_process() {
            (*conn).closer.key.unattributed = new.closer.key.unattributed;
        }
    }
    Some(conn)
}

/// A connection state for a socket that has none and was there before tracing, with what the scan knows of it.
#[inline(always)]
pub fn begin_existing(sock: Sock, new: &'static Conn) -> Option<*mut Conn> {
    let conn = begin(sock.0, new)?;
    existing::adopt(sock.0, conn);
    Some(conn)
}

/// The same of a socket that nobody else can have met yet: any connection state at its address is an earlier socket's.
#[inline(always)]
pub fn begin_anew(sock: u64) -> Option<*mut Conn> {
    let conn = entry(sock)?;
    // SAFETY: the entry of a live socket.
    unsafe { *conn = NEW };
    Some(conn)
}

/// The connection state of a socket that a process accept()s: it has one, but where that was skipped, or its ESTABLISHED comes at
/// this moment on another CPU. What begins here says which connection it is for.
#[inline(always)]
pub fn accepted(sock: Sock) -> Option<*mut Conn> {
    let mut found = find(sock.0);
    if found.is_none() {
        if sock.state() == state::CLOSE {
            // Closed by another thread before its accept() returned: its address may be another socket's soon. Or it has
            // been established and reset since the look: then it has one by now.
            return find(sock.0);
        }
        found = entry(sock.0);
    }
    let conn = found?;
    // SAFETY: the entry of a live socket; integers.
    unsafe {
        // A client is never accepted. Not begun anew where it ended in CLOSE: that is this one's, if its hash says so.
        let is_of_client = (*conn).hash == 0 && (*conn).side == Side::Client as u8;
        if is_of_client || !is_of_connection(conn, sock) {
            *conn = NEW;
        }
        (*conn).hash = sock.hash();
    }
    found
}

/// The entry of a socket's address, made where missing, and as it is where not. None is made before the programs are
/// attached that take it away again.
#[inline(always)]
fn entry(sock: u64) -> Option<*mut Conn> {
    if !counting::is_following() {
        return None;
    }
    if let Some(slot) = slot(sock) {
        // SAFETY: a map value.
        unsafe {
            let owner = &raw mut (*slot).sock;
            if *owner == sock || claim(owner, sock) {
                return Some(&raw mut (*slot).conn);
            }
            // Claimed by another CPU meanwhile, for this very socket.
            if owner.read_volatile() == sock {
                return Some(&raw mut (*slot).conn);
            }
            // Never taken back: it only says where to look, too. A slot that becomes free at this moment, while another
            // CPU begins the connection state of this socket, splits it: then its opener is unknown.
            (*slot).spilled = 1;
        }
    }
    // There may be one by now.
    let _ = CONNS.insert(sock, &NEW, NO_EXIST);
    let conn = CONNS.get_ptr_mut(sock);
    if conn.is_none() {
        lost::count_lost(Probe::SocketMap);
        if let Some(full) = CONNS_WERE_FULL.get_ptr_mut(0) {
            // SAFETY: a map value; everybody writes the same.
            unsafe { *full = 1 };
        }
    }
    conn
}

/// Forgets a socket's connection state.
#[inline(always)]
pub fn forget(sock: u64) {
    if let Some(slot) = slot(sock) {
        // SAFETY: a map value; the slot of this socket, which is destroyed once. It is emptied before it is free.
        unsafe {
            if (*slot).sock == sock {
                (*slot).conn = NEW;
                in_this_order();
                (*slot).sock = 0;
            }
            if (*slot).spilled == 0 {
                return;
            }
        }
    }
    let _ = CONNS.remove(sock);
}

/// The slot of a socket's address, where there are slots. Sockets are some 2 KiB apart in slabs of eight pages and more:
/// a multiplication spreads all their bits.
#[inline(always)]
fn slot(sock: u64) -> Option<*mut ConnSlot> {
    let bits = config!(conn_slot_bits);
    if bits == 0 {
        return None;
    }
    let spread = (sock >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    CONN_SLOTS.get_ptr_mut((spread >> (64 - bits as u64)) as u32)
}

/// The connection state of a socket that is not in CLOSE. One that ended in CLOSE already is that of an earlier socket
/// at this address, whose destruction the kernel skipped our programs for.
#[inline(always)]
pub fn alive(sock: Sock) -> Option<*mut Conn> {
    let conn = find(sock.0)?;
    // SAFETY: a map value.
    (unsafe { (*conn).flags } & CLOSED == 0).then_some(conn)
}

/// The connection state of a socket that is in this state; where it has none, the socket was open when tracing began.
#[inline(always)]
pub fn in_state(sock: Sock, now: u8) -> Option<*mut Conn> {
    let conn = if now == state::CLOSE {
        find(sock.0)
    } else {
        alive(sock)
    };
    if conn.is_some() {
        return conn;
    }
    let new = match now {
        state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSING | state::LAST_ACK => stranger(),
        _ => &NEW,
    };
    begin_existing(sock, new)
}

/// The connection state of a socket that is closing and has none.
#[inline(always)]
pub fn stranger() -> &'static Conn {
    if lost::were_full() {
        &FORGOTTEN
    } else {
        &STRANGER
    }
}

/// The entry of an MPTCP socket, made where missing. It is no connection of its own: kept for its
/// subflows, which a kworker closes.
#[inline(always)]
pub fn mptcp(sock: u64) -> Option<*mut Conn> {
    if let Some(conn) = MPTCP.get_ptr_mut(sock) {
        return Some(conn);
    }
    let _ = MPTCP.insert(sock, &NEW, NO_EXIST);
    MPTCP.get_ptr_mut(sock)
}
