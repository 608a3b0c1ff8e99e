//! Owners of listeners. A listener answers by RST to segments that belong to no connection (any more); its owner is
//! charged.
//!
//! The process that called listen() is known, and so are those that accept() from the listener. If only one process
//! accepts, it is the owner: a parent may have called listen() and closed its own descriptor. If several accept, none
//! of them is proven to be the owner, and the process that called listen() stands for all.

use twtrace_wire::Unattributed;

use crate::{
    maps::{LISTENER_CHANGES, LISTENERS, atomic::increment},
    processes::process::actor,
    records::{Actor, Listener},
    slots::existing,
    sockets::{sock::Sock, state},
};

/// Copied into the map, since it is too large for the stack.
static NEW: Listener = Listener {
    opener: Actor::nobody(Unattributed::Unknown),
    acceptor: Actor::nobody(Unattributed::Unknown),
    net: 0,
    port: 0,
    is_shared: 0,
};

/// The entry of this listener. The entry of an earlier socket at its address has another port or was removed.
#[inline(always)]
fn entry(listener: Sock) -> Option<*mut Listener> {
    let entry = LISTENERS.get_ptr_mut(listener.0)?;
    // SAFETY: integers in an LRU entry.
    let is_its =
        unsafe { (*entry).net == listener.net() && (*entry).port == listener.local_port() as u32 };
    is_its.then_some(entry)
}

#[inline(always)]
fn begin(listener: Sock) -> Option<*mut Listener> {
    let _ = LISTENERS.insert(listener.0, &NEW, 0);
    note_change();
    let entry = LISTENERS.get_ptr_mut(listener.0)?;
    // SAFETY: integers in an LRU entry.
    unsafe {
        (*entry).net = listener.net();
        (*entry).port = listener.local_port() as u32;
    }
    Some(entry)
}

/// How many entries have come or gone.
#[inline(always)]
pub fn changes() -> u64 {
    LISTENER_CHANGES
        .get_ptr(0)
        // SAFETY: an integer in a map value.
        .map_or(0, |changes| unsafe { changes.read_volatile() })
}

#[inline(always)]
fn note_change() {
    if let Some(changes) = LISTENER_CHANGES.get_ptr_mut(0) {
        // SAFETY: an integer in a map value.
        unsafe { increment(changes) }
    }
}

/// CLOSE → LISTEN: listen(), in process context (inet_csk_listen_start).
#[inline(always)]
pub fn opened(listener: Sock) {
    if let Some(entry) = begin(listener) {
        // SAFETY: as above.
        unsafe { (*entry).opener = actor(listener) };
    }
}

/// LISTEN → CLOSE: the listener is closed.
#[inline(always)]
pub fn closed(listener: Sock) {
    let _ = LISTENERS.remove(listener.0);
    note_change();
}

/// Records a process that has accepted from the listener. Returns whether it found it recorded: what it writes, another
/// CPU may overwrite at the same time.
#[inline(always)]
pub fn accepted(listener: Sock, acceptor: &Actor) -> bool {
    if !acceptor.is_process() || listener.state() != state::LISTEN {
        return false;
    }
    let Some(entry) = entry(listener).or_else(|| begin(listener)) else {
        return false;
    };
    // SAFETY: as above.
    unsafe {
        if (*entry).is_shared != 0 {
            return true;
        }
        if !(*entry).acceptor.is_process() {
            (*entry).acceptor = *acceptor;
            return false;
        }
        if !(*entry).acceptor.is_of(&acceptor.key) {
            (*entry).is_shared = 1;
            return false;
        }
    }
    true
}

/// Sets `actor` to the owner of a listener, or of the listener behind a half-open request, if it is known.
#[inline(always)]
pub fn name_owner(sock: Sock, actor: &mut Actor) {
    let listener = match sock.state() {
        state::LISTEN => sock,
        state::NEW_SYN_RECV => sock.listener(),
        _ => return,
    };
    if let Some(entry) = entry(listener) {
        // SAFETY: as above; copies of integers.
        unsafe {
            if (*entry).acceptor.is_process() && (*entry).is_shared == 0 {
                *actor = (*entry).acceptor;
                return;
            }
            if (*entry).opener.is_process() {
                *actor = (*entry).opener;
                return;
            }
        }
    }
    let (_, known) = existing::of(listener);
    if known.is_process() {
        *actor = known;
    }
}
