//! System calls in progress, by thread. A slot whose return the kernel skipped still belongs to its thread.

use crate::{
    constants::config,
    maps::{CALL_SLOT_COUNT, CALL_SLOTS, CALLS, slot},
    records::{Call, Slot},
};

/// The slot of a thread; `None` where slots cannot be claimed.
#[inline(always)]
fn slot_of(thread: u64) -> Option<*mut Slot<Call>> {
    if config!(direct_reads) == 0 {
        return None;
    }
    CALL_SLOTS.get_ptr_mut(thread as u32 & (CALL_SLOT_COUNT - 1))
}

/// Keeps a thread's call until it returns.
#[inline(always)]
pub fn begin(thread: u64, call: &Call) {
    match slot::claimed(slot_of(thread), thread) {
        // SAFETY: only the thread that claimed a slot writes its call.
        Some(place) => unsafe { *place = *call },
        None => {
            let _ = CALLS.insert(thread, call, 0);
        }
    }
}

/// The call that a thread is in, if it was seen.
#[inline(always)]
pub fn find(thread: u64) -> Option<*mut Call> {
    slot::find(slot_of(thread), thread, || CALLS.get_ptr_mut(thread))
}

/// Ends the call of a thread after its return.
#[inline(always)]
pub fn forget(thread: u64) {
    if slot::release(slot_of(thread), thread, |_| {}) {
        let _ = CALLS.remove(thread);
    }
}
