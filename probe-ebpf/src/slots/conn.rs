//! Entries of the connection state maps.
//!
//! Two CPUs may meet the beginning of a connection at the same moment: the server's accept() can return the child
//! before softirq, on another CPU, has changed it to ESTABLISHED. Code that begins a connection state must therefore keep
//! what the other one has written. A live entry is never overwritten: one instruction claims a slot, which is empty
//! then, and a map accepts an entry only if there is none.

use twtrace_wire::{Probe, Side};

use crate::{
    constants::config,
    maps::{CONN_SLOTS, CONNS, CONNS_WERE_FULL, MPTCP, counting, lost, slot},
    records::{CLOSED, Conn, FORGOTTEN, NEW, STRANGER, Slot},
    slots::existing,
    sockets::{sock::Sock, state},
};

/// `BPF_NOEXIST`: insert only if the key is absent.
const NO_EXIST: u64 = 1;

/// The connection state of the socket at an address. Ignores that of an earlier socket there, whose end was missed
/// because the kernel skipped our programs.
#[inline(always)]
pub fn find(sock: u64) -> Option<*mut Conn> {
    let conn = at(sock)?;
    // SAFETY: a map value.
    unsafe { is_of_connection(conn, Sock(sock)) }.then_some(conn)
}

/// Whether a connection state belongs to a socket's current connection, by its hash; a hash of 0 is not known yet.
///
/// # Safety
/// `conn` is a map value.
#[inline(always)]
unsafe fn is_of_connection(conn: *const Conn, sock: Sock) -> bool {
    // SAFETY: guaranteed by the caller; an integer.
    let hash = unsafe { (*conn).hash };
    hash == 0 || hash == sock.hash()
}

/// The entry of an address: in its slot of [`CONN_SLOTS`], whose index is computed; or in [`CONNS`], if another socket
/// has the slot or there are no slots.
#[inline(always)]
fn at(sock: u64) -> Option<*mut Conn> {
    slot::find(slot_of(sock), sock, || CONNS.get_ptr_mut(sock))
}

/// Begins the connection state of a socket that has no live one, to be filled in place. It is `NEW`, that of a
/// [`stranger`], or one that another CPU has just begun. A state that ended in CLOSE or has another connection is an
/// earlier socket's. `None`: the map is full, or not all programs are attached yet.
#[inline(always)]
pub fn begin(sock: u64, new: &'static Conn) -> Option<*mut Conn> {
    let conn = entry(sock)?;
    // SAFETY: the entry of a live socket. If accept() writes into the entry of an earlier socket just before this, the
    // write is lost and the opener is unknown.
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

/// Begins the connection state of a socket that existed before tracing, with what the start-up scan knows of it.
#[inline(always)]
pub fn begin_existing(sock: Sock, new: &'static Conn) -> Option<*mut Conn> {
    let conn = begin(sock.0, new)?;
    existing::adopt(sock.0, conn);
    Some(conn)
}

/// Begins the connection state of a socket that nobody else can have met yet: any state at its address is an earlier
/// socket's.
#[inline(always)]
pub fn begin_anew(sock: u64) -> Option<*mut Conn> {
    let conn = entry(sock)?;
    // SAFETY: the entry of a live socket.
    unsafe { *conn = NEW };
    Some(conn)
}

/// The connection state of a socket that a process accept()s. The socket has one, unless its ESTABLISHED was skipped or
/// comes at this moment on another CPU. A state that begins here records the hash of its connection.
#[inline(always)]
pub fn accepted(sock: Sock) -> Option<*mut Conn> {
    let mut found = find(sock.0);
    if found.is_none() {
        if sock.state() == state::CLOSE {
            // Another thread closed it before this accept() returned: its address may soon be another socket's. Or it
            // was established and reset since the lookup: then it has a state by now.
            return find(sock.0);
        }
        found = entry(sock.0);
    }
    let conn = found?;
    // SAFETY: the entry of a live socket; integers.
    unsafe {
        // A client is never accepted: the descriptor that accept() returned stands for another socket by now, which may
        // have failed to connect. Or the state is an earlier socket's.
        let is_of_client = (*conn).side == Side::Client as u8;
        let is_its =
            (*conn).hash == sock.hash() || matches!(sock.state(), state::SYN_SENT | state::CLOSE);
        if is_of_client && is_its {
            return None;
        }
        // A state that ended in CLOSE is kept if its hash is that of this connection.
        if is_of_client || !is_of_connection(conn, sock) {
            *conn = NEW;
        }
        (*conn).hash = sock.hash();
    }
    found
}

/// The entry of a socket's address; created if missing, else unchanged. No entry is created before the programs that
/// remove it are attached.
#[inline(always)]
fn entry(sock: u64) -> Option<*mut Conn> {
    if !counting::is_following() {
        return None;
    }
    // If the slot becomes free now, while another CPU begins the connection state of this socket, the state is split and
    // its opener is unknown.
    if let Some(conn) = slot::claimed(slot_of(sock), sock) {
        return Some(conn);
    }
    // Another CPU may have created it by now.
    let _ = CONNS.insert(sock, &NEW, NO_EXIST);
    let conn = CONNS.get_ptr_mut(sock);
    if conn.is_none() {
        lost::count_lost(Probe::SocketMap);
        if let Some(full) = CONNS_WERE_FULL.get_ptr_mut(0) {
            // SAFETY: a map value; all CPUs write the same value.
            unsafe { *full = 1 };
        }
    }
    conn
}

/// Removes a socket's connection state from its slot and from the map.
#[inline(always)]
pub fn forget(sock: u64) {
    if slot::release(slot_of(sock), sock, |conn| *conn = NEW) {
        let _ = CONNS.remove(sock);
    }
}

/// The slot of a socket's address, if there are slots. A free one has the state of a socket of which nothing is known
/// yet. Sockets are about 2 KiB apart, in slabs of eight or more pages:
/// the multiplication spreads all bits of the address.
#[inline(always)]
fn slot_of(sock: u64) -> Option<*mut Slot<Conn>> {
    let bits = config!(conn_slot_bits);
    if bits == 0 {
        return None;
    }
    let spread = (sock >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    CONN_SLOTS.get_ptr_mut((spread >> (64 - bits as u64)) as u32)
}

/// The connection state of a socket that is not in CLOSE. A state that has ended in CLOSE is that of an earlier socket
/// at this address, whose destruction was missed because the kernel skipped our programs.
#[inline(always)]
pub fn alive(sock: Sock) -> Option<*mut Conn> {
    let conn = find(sock.0)?;
    // SAFETY: a map value.
    (unsafe { (*conn).flags } & CLOSED == 0).then_some(conn)
}

/// The connection state of a socket that is in state `now`. A socket without one was open when tracing began.
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
        _ if lost::were_full() => &FORGOTTEN,
        _ => &NEW,
    };
    begin_existing(sock, new)
}

/// The initial connection state of a socket that is closing and has none.
#[inline(always)]
pub fn stranger() -> &'static Conn {
    if lost::were_full() {
        &FORGOTTEN
    } else {
        &STRANGER
    }
}

/// The entry of an MPTCP socket, created if missing. It is not a connection of its own. It is kept for its subflows,
/// which a kworker closes.
#[inline(always)]
pub fn mptcp(sock: u64) -> Option<*mut Conn> {
    if let Some(conn) = MPTCP.get_ptr_mut(sock) {
        return Some(conn);
    }
    let _ = MPTCP.insert(sock, &NEW, NO_EXIST);
    MPTCP.get_ptr_mut(sock)
}
