//! Sockets that were there before tracing began: what the start-up scan knows of them.
//!
//! Userspace attaches first and scans then. A socket that has a connection state by then keeps it: what was learned by
//! events wins. The others get theirs at their first event, and here it is completed.

use twtrace_wire::{Existing, ExistingKey, Side, Unattributed};

use crate::{
    constants::offset,
    maps::EXISTING,
    processes::names,
    records::{Actor, Conn},
    sockets::{read::read, sock::Sock},
};

/// Completes a connection state with what the scan knows.
#[inline(never)]
pub fn adopt(sock: u64, conn: *mut Conn) -> u32 {
    let Some(known) = known(Sock(sock)) else {
        return 0;
    };
    let opener = opener_of(known);
    // SAFETY: the entry of a live socket.
    unsafe {
        if (*conn).side == Side::Unknown as u8 {
            (*conn).side = known.side;
        }
        if !(*conn).opener.is_process() {
            (*conn).opener = opener;
        }
    }
    1
}

/// Side and opener of a mini-socket or full socket that has no connection state.
#[inline(always)]
pub fn of(sock: Sock) -> (u8, Actor) {
    match known(sock) {
        Some(known) => (known.side, opener_of(known)),
        None => (Side::Unknown as u8, Actor::nobody(Unattributed::Unknown)),
    }
}

#[inline(always)]
fn known(sock: Sock) -> Option<&'static Existing> {
    let cookie = read(sock.0, offset!(skc_cookie));
    if cookie == 0 {
        return None;
    }
    let known = EXISTING.get_ptr(ExistingKey {
        cookie,
        netns: sock.netns(),
        reserved: 0,
    })?;
    // SAFETY: a map value that is written before it is there, and not changed or removed.
    Some(unsafe { &*known })
}

/// The opener, with names for the totals where the process has not acted since.
#[inline(always)]
fn opener_of(known: &Existing) -> Actor {
    let key = known.opener.key;
    if key.tgid == 0 {
        return Actor::nobody(Unattributed::Unknown);
    }
    names::introduce(&known.opener);
    Actor {
        key,
        tid: key.tgid,
        generation: names::FOUND,
        thread_comm: [0; 2],
    }
}
