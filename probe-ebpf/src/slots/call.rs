//! System calls in progress, by thread.

use crate::{
    constants::config,
    maps::{CALL_SLOT_COUNT, CALL_SLOTS, CALLS, atomic::claim},
    records::{Call, CallSlot},
};

/// The slot of a thread; `None` where slots cannot be claimed.
#[inline(always)]
fn slot(thread: u64) -> Option<*mut CallSlot> {
    if config!(direct_reads) == 0 {
        return None;
    }
    CALL_SLOTS.get_ptr_mut(thread as u32 & (CALL_SLOT_COUNT - 1))
}

/// Keeps a thread's call until it returns.
#[inline(always)]
pub fn begin(thread: u64, call: &Call) {
    if let Some(slot) = slot(thread) {
        // SAFETY: a map value. Only the thread that claimed a slot writes its call. A slot whose return the kernel
        // skipped still belongs to its thread.
        unsafe {
            if (*slot).thread == thread || claim(&raw mut (*slot).thread, thread) {
                (*slot).call = *call;
                return;
            }
        }
    }
    let _ = CALLS.insert(thread, call, 0);
}

/// The call that a thread is in, if it was seen.
#[inline(always)]
pub fn find(thread: u64) -> Option<*mut Call> {
    if let Some(slot) = slot(thread) {
        // SAFETY: a map value.
        unsafe {
            if (*slot).thread == thread {
                return Some(&raw mut (*slot).call);
            }
        }
    }
    CALLS.get_ptr_mut(thread)
}

/// Ends the call of a thread after its return.
#[inline(always)]
pub fn forget(thread: u64) {
    if let Some(slot) = slot(thread) {
        // SAFETY: a map value; the slot of this thread.
        unsafe {
            if (*slot).thread == thread {
                (*slot).thread = 0;
                return;
            }
        }
    }
    let _ = CALLS.remove(thread);
}
