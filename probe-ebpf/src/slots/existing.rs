//! Sockets that existed before tracing began: what the start-up scan knows of them.
//!
//! Userspace attaches the programs first and scans then. A socket that has a connection state by then keeps it: data
//! from events takes precedence. The others get theirs at their first event, and it is completed here.

use twtrace_wire::{Existing, ExistingKey, Side, Unattributed};

use crate::{
    constants::offset,
    maps::EXISTING,
    processes::names,
    records::{Actor, Conn},
    sockets::{read::read, sock::Sock},
};

/// Completes a connection state with what the start-up scan knows.
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

/// Side and opener of a full socket or mini-socket without a connection state.
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
    // SAFETY: a map value that is complete before it is inserted, and is never changed or removed.
    Some(unsafe { &*known })
}

/// The opener. Gives it names for the totals if the process has not acted since.
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
