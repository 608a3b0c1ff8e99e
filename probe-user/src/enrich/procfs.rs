//! One process in /proc.

use std::fs;
use std::io;

use super::cgroup::Place;
use super::cgroup_lines;
use crate::event::comm::Comm;

/// What /proc tells of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its name, as it is now.
    pub comm: Comm,
    /// Target of /proc/PID/exe; `None` for kernel threads.
    pub exe: Option<String>,
    /// Its cgroup.
    pub cgroup: Option<Place>,
}

/// Reads /proc/PID, if that is still the process that started then (CLOCK_BOOTTIME, nanoseconds).
pub fn read(pid: u32, start_boot_ns: u64) -> Option<Found> {
    let mut comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    if comm.last() == Some(&b'\n') {
        comm.pop();
    }
    let found = Found {
        comm: Comm::from_bytes(&comm),
        exe: fs::read_link(format!("/proc/{pid}/exe"))
            .ok()
            .map(|path| path.to_string_lossy().into_owned()),
        cgroup: fs::read(format!("/proc/{pid}/cgroup"))
            .ok()
            .and_then(|text| cgroup_lines::choose(&text)),
    };
    // Last, so that what was read before belongs to the process that is checked here.
    let started = start_ticks(pid)?;
    (started == start_boot_ns / tick_ns()).then_some(found)
}

/// Start time of a process in clock ticks since boot: field 22 of /proc/PID/stat.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces and parentheses itself.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = str::from_utf8(&stat[after_name..]).ok()?;
    // Field 3, the state, is the first one after the name.
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// Real user id of a process.
pub fn real_uid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().next()?.parse().ok()
}

/// Length of a clock tick as /proc uses it, nanoseconds.
pub fn tick_ns() -> u64 {
    // SAFETY: sysconf() has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    1_000_000_000 / u64::try_from(per_second).unwrap_or(100).max(1)
}

/// A `--pid` that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PidError {
    /// There is none.
    #[error("no process has pid {0}")]
    NotFound(u32),
    /// It is a thread's id.
    #[error("{pid} is a thread; its process is {tgid}")]
    Thread {
        /// The id given.
        pid: u32,
        /// Its process.
        tgid: u32,
    },
    /// /proc can't be read.
    #[error("reading /proc/{0}/status")]
    Read(u32, #[source] io::Error),
}

/// Checks that a process with this pid lives.
///
/// # Errors
/// When there is none, or it is the id of a thread.
pub fn check_pid(pid: u32) -> Result<(), PidError> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PidError::NotFound(pid),
            _ => PidError::Read(pid, error),
        })?;
    let tgid = status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .and_then(|value| value.trim().parse().ok());
    match tgid {
        Some(tgid) if tgid != pid => Err(PidError::Thread { pid, tgid }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_pid_passes_and_none_fails() {
        check_pid(std::process::id()).unwrap();
        assert!(matches!(
            check_pid(u32::MAX),
            Err(PidError::NotFound(u32::MAX))
        ));
    }

    #[test]
    fn a_thread_is_no_process() {
        let tid = std::thread::spawn(|| {
            // SAFETY: gettid() has no preconditions.
            let tid = unsafe { libc::gettid() }.cast_unsigned();
            assert!(matches!(check_pid(tid), Err(PidError::Thread { .. })));
            tid
        })
        .join()
        .unwrap();
        assert_ne!(tid, std::process::id());
    }
}
