//! The kernel's clocks.

use std::io;

/// Nanoseconds of a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// CLOCK_MONOTONIC now, nanoseconds.
///
/// # Errors
/// When the kernel refuses the clock.
pub fn monotonic_ns() -> io::Result<u64> {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Any clock now, nanoseconds.
///
/// # Errors
/// When the kernel refuses the clock.
pub fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec to write to for the length of the call.
    if unsafe { libc::clock_gettime(clock, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(now.tv_sec.unsigned_abs() * SECOND_NS + now.tv_nsec.unsigned_abs())
}
