//! Where the entry of a mini-socket is: in a slot that its address selects, or in a map if the slot is taken. Inserting
//! into the map costs several times as much: it touches memory in more places, most of them in no cache.
//!
//! A slot belongs to one mini-socket at a time. While its entry is being written, it belongs to nobody, so that no other
//! CPU can read it or take it. An end that was not seen leaves the entry behind. Then the next mini-socket at the same
//! address takes it over; or any other one, once the memory at that address shows that the mini-socket has ended.

use crate::{
    constants::{config, offset},
    maps::{
        MINI_SLOTS, MINIS,
        atomic::{exchange, in_this_order},
        slot,
    },
    records::{MiniConn, NEW_MINI, Slot},
    sockets::{
        read::{now_ns, read},
        sock::Sock,
        state,
    },
};

/// The owner of a slot whose entry is being written: not an address.
const BEING_WRITTEN: u64 = 1;

/// Where an entry is written.
pub enum Place {
    Slot(*mut Slot<MiniConn>),
    Map(*mut MiniConn),
}

impl Place {
    #[inline(always)]
    pub fn value(&self) -> *mut MiniConn {
        match self {
            // SAFETY: a map value.
            Self::Slot(slot) => unsafe { &raw mut (**slot).value },
            Self::Map(value) => *value,
        }
    }

    /// The entry is written: the mini-socket owns it.
    #[inline(always)]
    pub fn finish(&self, mini: u64) {
        if let Self::Slot(slot) = self {
            in_this_order();
            // SAFETY: a map value, which nobody else changes while it is being written.
            unsafe { (**slot).owner = mini };
        }
    }
}

/// Half as many slots as for connection states; `None` where there are none of these. Mini-sockets are 256 bytes apart or
/// more, in slabs of one or more pages: neighbours have neighbouring slots, which are soon in the cache.
#[inline(always)]
fn slot_of(mini: u64) -> Option<*mut Slot<MiniConn>> {
    let bits = config!(conn_slot_bits);
    if bits == 0 {
        return None;
    }
    MINI_SLOTS.get_ptr_mut((mini >> 8) as u32 & ((1 << (bits - 1)) - 1))
}

/// A place for the entry of a new mini-socket. What an earlier one left at its address is overwritten.
#[inline(always)]
pub fn take(mini: u64) -> Option<Place> {
    if let Some(slot) = slot_of(mini)
        && take_slot(slot, mini)
    {
        return Some(Place::Slot(slot));
    }
    let _ = MINIS.insert(mini, &NEW_MINI, 0);
    MINIS.get_ptr_mut(mini).map(Place::Map)
}

#[inline(always)]
fn take_slot(slot: *mut Slot<MiniConn>, mini: u64) -> bool {
    // SAFETY: a map value.
    unsafe {
        let owner = &raw mut (*slot).owner;
        let before = owner.read_volatile();
        let is_anothers = before != 0 && before != mini;
        let is_free = match before {
            BEING_WRITTEN => false,
            _ => !is_anothers || has_ended(&(*slot).value, Sock(before)),
        };
        if is_free && exchange(owner, before, BEING_WRITTEN) {
            // In the meantime a new mini-socket may have come to the other's address, and taken the slot.
            if !is_anothers || has_ended(&(*slot).value, Sock(before)) {
                return true;
            }
            *owner = before;
        }
        (*slot).spilled = 1;
    }
    false
}

/// A new mini-socket has no references yet (inet_twsk_alloc): after this time it has some, or is freed.
const REFERENCED_AFTER_NS: u64 = 1_000_000_000;

/// Whether the mini-socket behind a complete entry has ended: freed, or its memory is another one's.
#[inline(always)]
fn has_ended(kept: &MiniConn, mini: Sock) -> bool {
    if mini.state() != state::TIME_WAIT || !is_of(kept, mini) {
        return true;
    }
    read::<u32>(mini.0, offset!(skc_refcnt)) == 0
        && now_ns().wrapping_sub(kept.born_ns) > REFERENCED_AFTER_NS
}

/// Whether an entry is of this mini-socket's connection.
#[inline(always)]
pub fn is_of(kept: &MiniConn, mini: Sock) -> bool {
    kept.hash == mini.hash()
        && kept.local_port == mini.local_port()
        && kept.remote_port == mini.remote_port()
}

/// The entry at a mini-socket's address.
#[inline(always)]
pub fn find(mini: u64) -> Option<*mut MiniConn> {
    slot::find(slot_of(mini), mini, || MINIS.get_ptr_mut(mini))
}

/// Removes it.
#[inline(always)]
pub fn release(mini: u64) {
    if let Some(slot) = slot_of(mini) {
        // SAFETY: a map value.
        unsafe {
            // If another CPU is taking it over, it is that one's.
            exchange(&raw mut (*slot).owner, mini, 0);
            if (*slot).spilled == 0 {
                return;
            }
        }
    }
    let _ = MINIS.remove(mini);
}
