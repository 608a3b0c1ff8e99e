//! The kernel's clocks, as the kernel side and the host read them.
//!
//! In a time namespace (`unshare --time`, some container runtimes) CLOCK_MONOTONIC and CLOCK_BOOTTIME are shifted by an
//! offset for its processes, and so are, on most kernels, the start times in /proc/PID/stat. The kernel side is not in
//! a time namespace. So the offset is subtracted here, and everything else uses the host's clocks.

use std::fs;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use twtrace_core::event::timestamp::{Clocks, SECOND_NS};

/// The current CLOCK_MONOTONIC of the host, nanoseconds.
///
/// # Errors
/// If the kernel refuses the clock.
pub fn monotonic_ns() -> io::Result<u64> {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// The current time of any clock of the host, nanoseconds.
///
/// # Errors
/// If the kernel refuses the clock.
pub fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec to write to for the length of the call.
    if unsafe { libc::clock_gettime(clock, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let shown_ns = now.tv_sec.unsigned_abs() * SECOND_NS + now.tv_nsec.unsigned_abs();
    let moved_ns = match clock {
        libc::CLOCK_MONOTONIC => shift().monotonic_ns,
        libc::CLOCK_BOOTTIME => shift().boottime_ns,
        _ => 0,
    };
    Ok(shown_ns.saturating_add_signed(-moved_ns))
}

/// Measures the offsets between the wall clock and the kernel's clocks.
///
/// # Errors
/// If the kernel refuses a clock.
pub fn measure() -> io::Result<Clocks> {
    Ok(Clocks {
        realtime_minus_monotonic_ns: realtime_minus_ns(libc::CLOCK_MONOTONIC)?,
        realtime_minus_boottime_ns: realtime_minus_ns(libc::CLOCK_BOOTTIME)?,
    })
}

/// Measures the offset to CLOCK_MONOTONIC again: the wall clock is stepped and slewed, and CLOCK_MONOTONIC stops while
/// the host sleeps.
///
/// # Errors
/// If the kernel refuses a clock.
pub fn remeasure(clocks: &mut Clocks) -> io::Result<()> {
    clocks.realtime_minus_monotonic_ns = realtime_minus_ns(libc::CLOCK_MONOTONIC)?;
    Ok(())
}

fn realtime_minus_ns(clock: libc::clockid_t) -> io::Result<i64> {
    let before = clock_ns(libc::CLOCK_REALTIME)?;
    let other = clock_ns(clock)?;
    let after = clock_ns(libc::CLOCK_REALTIME)?;
    let middle = before.midpoint(after);
    Ok(middle.cast_signed() - other.cast_signed())
}

/// Start times in /proc are on the host's clock, in whatever namespace they are read.
static STARTS_ARE_OF_HOST: AtomicBool = AtomicBool::new(false);

/// Detects whether the kernel shows start times of processes in /proc on the host's clock (seen on 5.10) and not on
/// that of the time namespace, from when this process started and what is shown for it, both in nanoseconds, and the
/// resolution of the latter.
pub fn learn_how_starts_are_shown(started_boot_ns: u64, shown_ns: u64, tick_ns: u64) {
    let is_of_host = shift().boottime_ns != 0 && started_boot_ns / tick_ns == shown_ns / tick_ns;
    STARTS_ARE_OF_HOST.store(is_of_host, Ordering::Relaxed);
}

fn start_shift_ns() -> i64 {
    if STARTS_ARE_OF_HOST.load(Ordering::Relaxed) {
        0
    } else {
        shift().boottime_ns
    }
}

/// What /proc shows for a start time on the host's CLOCK_BOOTTIME, nanoseconds.
pub fn shown_boot_ns(boot_ns: u64) -> u64 {
    boot_ns.saturating_add_signed(start_shift_ns())
}

/// The inverse of [`shown_boot_ns`].
pub fn boot_ns_of_shown(shown_ns: u64) -> u64 {
    shown_ns.saturating_add_signed(-start_shift_ns())
}

/// Why times may be wrong; `None` if they are right.
pub fn doubt() -> Option<&'static str> {
    shift().is_unknown.then_some(
        "this process has another time namespace than its children, and the kernel shows the offset of theirs alone: \
         times of events may be wrong by the offset of its own (run it by unshare --time --fork)",
    )
}

/// Offsets of the clocks of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shift {
    monotonic_ns: i64,
    boottime_ns: i64,
    is_unknown: bool,
}

/// Inode number of the initial time namespace (PROC_TIME_INIT_INO).
const INITIAL_TIME_NAMESPACE: &str = "time:[4026531834]";

fn shift() -> Shift {
    static SHIFT: OnceLock<Shift> = OnceLock::new();
    *SHIFT.get_or_init(|| {
        let link = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        let own = link("time");
        if own.is_none() || own.as_deref() == Some(INITIAL_TIME_NAMESPACE.as_ref()) {
            // The kernel has no time namespaces (before 5.6), or this is the host's.
            return Shift::default();
        }
        // The file is about the namespace of future children.
        let text = if own == link("time_for_children") {
            fs::read_to_string("/proc/self/timens_offsets").ok()
        } else {
            None
        };
        text.as_deref().and_then(parse).unwrap_or(Shift {
            is_unknown: true,
            ..Shift::default()
        })
    })
}

/// Parses /proc/PID/timens_offsets: clock, seconds and nanoseconds. Clocks were numbers in 5.6.
fn parse(text: &str) -> Option<Shift> {
    let of = |names: [&str; 2]| {
        let mut lines = text.lines().map(str::split_ascii_whitespace);
        let mut words = lines.find_map(|mut words| {
            let clock = words.next()?;
            names.contains(&clock).then_some(words)
        })?;
        let seconds: i64 = words.next()?.parse().ok()?;
        let ns: i64 = words.next()?.parse().ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(ns)
    };
    Some(Shift {
        monotonic_ns: of(["monotonic", "1"])?,
        boottime_ns: of(["boottime", "7"])?,
        is_unknown: false,
    })
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::Timestamp;

    use super::*;

    #[test]
    fn offsets_are_read_with_their_sign() {
        let expected = Shift {
            monotonic_ns: 1_000_000_000_000_005,
            boottime_ns: -1_500_000_000,
            is_unknown: false,
        };
        let named = "monotonic     1000000         5\nboottime           -2 500000000\n";
        assert_eq!(parse(named), Some(expected));
        assert_eq!(parse("1 1000000 5\n7 -2 500000000\n"), Some(expected));
        assert_eq!(parse("monotonic 1 0\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_present_lies_after_this_was_written() {
        let now = measure().unwrap().of_monotonic(monotonic_ns().unwrap());
        assert!(now > Timestamp(1_700_000_000 * SECOND_NS), "{now}");
    }
}
