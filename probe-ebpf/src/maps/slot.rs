//! Entries in slots: an array whose index is computed from the key is cheaper than a hash table.
//!
//! A key that finds its slot taken by another one has its entry in a map. `slot` is `None` where there are no slots: then
//! all entries are in the map. Each caller computes the index, and says what the key is and when its entry ends.
//! `slots::closing` has slots of another kind: they have no value of their own, and the socket that a slot leads to shows
//! whether the entry is still valid.

use crate::{
    maps::atomic::{claim, in_this_order},
    records::Slot,
};

/// The entry of a key in its slot, or in the map.
#[inline(always)]
pub fn find<V>(
    slot: Option<*mut Slot<V>>,
    owner: u64,
    in_map: impl FnOnce() -> Option<*mut V>,
) -> Option<*mut V> {
    if let Some(slot) = slot {
        // SAFETY: a map value; a slot changes its owner only after its entry has ended.
        unsafe {
            if (*slot).owner == owner {
                return Some(&raw mut (*slot).value);
            }
            if (*slot).spilled == 0 {
                return None;
            }
        }
    }
    in_map()
}

/// The value of a key's slot, which may be claimed for it just now. `None`: its entry belongs into the map.
#[inline(always)]
pub fn claimed<V>(slot: Option<*mut Slot<V>>, owner: u64) -> Option<*mut V> {
    let slot = slot?;
    // SAFETY: a map value.
    unsafe {
        let word = &raw mut (*slot).owner;
        // The last one: another CPU has just claimed it for the same key.
        if *word == owner || claim(word, owner) || word.read_volatile() == owner {
            return Some(&raw mut (*slot).value);
        }
        (*slot).spilled = 1;
    }
    None
}

/// Frees the slot of a key after `clear` has emptied its value. Returns whether the map may have an entry of the key.
#[inline(always)]
pub fn release<V>(slot: Option<*mut Slot<V>>, owner: u64, clear: impl FnOnce(&mut V)) -> bool {
    let Some(slot) = slot else {
        return true;
    };
    // SAFETY: a map value; the slot of this key, whose entry ends only once.
    unsafe {
        if (*slot).owner == owner {
            clear(&mut (*slot).value);
            in_this_order();
            (*slot).owner = 0;
        }
        (*slot).spilled != 0
    }
}
