//! Resource usage of this process.

use std::fs;

use twtrace_core::event::timestamp::SECOND_NS;

use crate::clock::clock_ns;
use crate::enrich::procfs::tick_ns;
use crate::output::prometheus::Own;

/// Reads all of it. The start time does not change with the wall clock.
pub fn read(own: &mut Own) {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let field = |number| field(stat.as_deref()?, number);
    let seconds = |ticks: u64| ticks.saturating_mul(tick_ns()) as f64 / SECOND_NS as f64;
    own.resident_bytes = resident_bytes();
    own.cpu_s = field(14)
        .zip(field(15))
        .map(|(user, system)| seconds(user + system));
    own.started_s = own.started_s.or_else(|| {
        let (now, since_boot) = (
            clock_ns(libc::CLOCK_REALTIME).ok()?,
            clock_ns(libc::CLOCK_BOOTTIME).ok()?,
        );
        let boot_s = now.checked_sub(since_boot)? as f64 / SECOND_NS as f64;
        Some(boot_s + seconds(field(22)?))
    });
    // The descriptor that reads the directory is one of them.
    let fds = fs::read_dir("/proc/self/fd").ok();
    own.open_fds = fds.map(|fds| (fds.count() as u64).saturating_sub(1));
}

/// A field of /proc/PID/stat, counted from 1. The second, the name, may contain spaces and parentheses.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    fields.nth(number.checked_sub(3)?)?.parse().ok()
}

fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf() has no preconditions.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.checked_mul(u64::try_from(page_bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_something() {
        let mut own = Own::default();
        read(&mut own);
        let before = own;
        let more = vec![1_u8; 64 << 20];
        let file = fs::File::open("/proc/self/stat").unwrap();
        read(&mut own);
        assert!(own.resident_bytes.unwrap() > before.resident_bytes.unwrap() + (32 << 20));
        assert!(own.open_fds >= Some(3) && own.cpu_s.unwrap() >= before.cpu_s.unwrap());
        assert_eq!(own.started_s, before.started_s);
        let now_s = clock_ns(libc::CLOCK_REALTIME).unwrap() as f64 / SECOND_NS as f64;
        assert!((0.0..3_600.0).contains(&(now_s - own.started_s.unwrap())));
        drop((more, file));
    }

    #[test]
    fn a_name_with_parentheses_is_passed_over() {
        assert_eq!(field("1 (a) 2 3) S 4 5", 4), Some(4));
        assert_eq!(field("1 (a", 4), None);
    }
}
