//! The kernel's clocks.

use std::io;

use super::check;

/// CLOCK_MONOTONIC, nanoseconds.
///
/// # Errors
/// errno of clock_gettime().
pub fn monotonic_ns() -> io::Result<u64> {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME, nanoseconds.
///
/// # Errors
/// errno of clock_gettime().
pub fn realtime_ns() -> io::Result<u64> {
    clock_ns(libc::CLOCK_REALTIME)
}

fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    check(unsafe { libc::clock_gettime(clock, &raw mut now) })?;
    Ok(now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned())
}
