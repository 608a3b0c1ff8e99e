//! When counting begins: for all programs at once, when the last of them is attached and userspace is ready.
//!
//! Programs are attached one after the other, which takes seconds on a slow machine. There are three phases:
//! - Until all programs are attached, no connection state is kept: half of a socket's events would be missed.
//! - Then connection states are kept, so that a connection that opens now has one. Nothing is counted or reported.
//! - From the time that userspace sets, everything is counted and reported.

use twtrace_wire::{ATTACHING, FOLLOWING};

use crate::maps::STARTED;

#[inline(always)]
fn phase() -> u64 {
    // SAFETY: an integer in a map value, which userspace writes.
    STARTED
        .get_ptr(0)
        .map_or(ATTACHING, |started| unsafe { started.read_volatile() })
}

/// Whether connection states are kept: all programs are attached.
#[inline(always)]
pub fn is_following() -> bool {
    phase() >= FOLLOWING
}

/// Whether facts are counted and reported. Once true, it stays so.
#[inline(always)]
pub fn has_begun() -> bool {
    phase() > FOLLOWING
}

/// Time at which counting began, on CLOCK_MONOTONIC in nanoseconds.
#[inline(always)]
pub fn since_ns() -> u64 {
    phase()
}
