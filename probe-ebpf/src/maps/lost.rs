//! Losses: counted in a map, and logged once for the user.

use core::ptr;

use twtrace_wire::Probe;

use super::{CONNS_WERE_FULL, LOST, UNTOLD};

/// Counts a loss.
#[inline(always)]
pub fn count_lost(probe: Probe) {
    if let Some(count) = LOST.get_ptr_mut(probe as u32) {
        // SAFETY: a per-CPU slot; an interrupt between load and store may cost a count, never more.
        unsafe {
            let before = ptr::read(count);
            ptr::write(count, before + 1);
            if before == 0
                && let Some(untold) = UNTOLD.get_ptr_mut(0)
            {
                ptr::write(untold, ptr::read(untold) | 1 << (probe as u32));
            }
        }
    }
}

/// The first losses on this CPU since the last call, as bits by [`Probe`].
#[inline(always)]
pub fn take_untold() -> u64 {
    match UNTOLD.get_ptr_mut(0) {
        // SAFETY: a per-CPU slot.
        Some(untold) => unsafe {
            let bits = ptr::read(untold);
            if bits != 0 {
                ptr::write(untold, 0);
            }
            bits
        },
        None => 0,
    }
}

/// Whether a connection state was ever refused for lack of room.
#[inline(always)]
pub fn were_full() -> bool {
    // SAFETY: a map value that is set once.
    CONNS_WERE_FULL
        .get_ptr(0)
        .is_some_and(|full| unsafe { *full } != 0)
}
