//! One process in /proc.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use twtrace_core::event::comm::Comm;
use twtrace_core::event::place::Place;
use twtrace_wire::{ProcessKey, ProcessNow};

use super::cgroup_lines::{self, CgroupVersions};
use super::pid_namespace;
use crate::clock;

/// What /proc shows of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcfsDetails {
    /// Its current name.
    pub comm: Comm,
    /// Target of /proc/PID/exe; `None` for kernel threads.
    pub exe: Option<String>,
    pub cgroup: Option<Place>,
    /// Its program and cgroup just after that was read; `None` if the kernel does not report them.
    pub now: Option<ProcessNow>,
}

/// Asks the kernel side about the process whose directory in /proc is open under this descriptor.
pub type Ask<'a> = &'a dyn Fn(RawFd) -> Option<ProcessNow>;

/// Reads what /proc shows of a process, if it is shown and alive. Reads the cgroup's file only if hierarchies are
/// wanted.
pub fn read(key: ProcessKey, wanted: Option<CgroupVersions>, ask: Ask) -> Option<ProcfsDetails> {
    let pid = pid_namespace::shown_pid(key)?;
    // Most short-lived processes have ended by now, and nothing else is checked for them. An open directory stands
    // for one process, and its files can't be read once that has ended.
    if is_gone(pid) {
        return None;
    }
    let directory = Directory::open(pid)?;
    let stat = directory.stat()?;
    if stat.start_ticks()? != shown_ticks(key.start_boot_ns) {
        return None;
    }
    let cgroup = wanted.and_then(|lines| {
        let text = directory.read(c"cgroup")?;
        cgroup_lines::choose_of(&text, lines)
    });
    Some(ProcfsDetails {
        comm: Comm::from_bytes(stat.name()?),
        exe: directory.link(c"exe"),
        cgroup,
        now: ask(directory.0.as_raw_fd()).filter(|now| now.key == key),
    })
}

/// Whether a process has exited, reaped or not. False if that is not known.
pub fn has_exited(key: ProcessKey) -> bool {
    let Some(pid) = pid_namespace::shown_pid(key) else {
        return false;
    };
    if is_gone(pid) {
        return true;
    }
    // Processes of other users may be hidden here.
    let Some(stat) = Directory::open(pid).and_then(|directory| directory.stat()) else {
        return false;
    };
    let is_other = stat
        .start_ticks()
        .is_some_and(|ticks| ticks != shown_ticks(key.start_boot_ns));
    is_other || stat.is_zombie()
}

/// Whether no process has this pid. Faster than /proc, if the pids there are those of this process's own namespace.
fn is_gone(pid: u32) -> bool {
    static SHOWS_OWN: OnceLock<bool> = OnceLock::new();
    let shows_own = || {
        let own = fs::read_link("/proc/self");
        own.is_ok_and(|own| own.as_os_str() == std::process::id().to_string().as_str())
    };
    if !*SHOWS_OWN.get_or_init(shows_own) {
        return false;
    }
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return true;
    };
    // SAFETY: integers only; signal 0 sends nothing.
    let answer = unsafe { libc::kill(pid, 0) };
    answer != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

/// The id by which /proc shows this process.
pub fn own_pid() -> Option<u32> {
    fs::read_link("/proc/self").ok()?.to_str()?.parse().ok()
}

/// A start time (CLOCK_BOOTTIME, nanoseconds) as /proc/PID/stat shows it, in clock ticks.
pub fn shown_ticks(start_boot_ns: u64) -> u64 {
    clock::shown_boot_ns(start_boot_ns) / tick_ns()
}

/// The reverse, to the precision of a tick.
pub fn boot_ns_of_ticks(shown_ticks: u64) -> u64 {
    clock::boot_ns_of_shown(shown_ticks * tick_ns())
}

/// Start time of a process in clock ticks since boot: field 22 of /proc/PID/stat.
pub fn start_ticks(pid: u32) -> Option<u64> {
    Directory::open(pid)?.stat()?.start_ticks()
}

/// /proc/PID.
struct Directory(OwnedFd);

impl Directory {
    fn open(pid: u32) -> Option<Self> {
        let path = CString::new(format!("/proc/{pid}")).ok()?;
        open_at(libc::AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY)
            .ok()
            .map(Self)
    }

    fn read(&self, name: &CStr) -> Option<Vec<u8>> {
        let file = open_at(self.0.as_raw_fd(), name, libc::O_RDONLY).ok()?;
        let mut text = Vec::with_capacity(READ_BYTES);
        File::from(file).read_to_end(&mut text).ok()?;
        Some(text)
    }

    fn stat(&self) -> Option<Stat> {
        self.read(c"stat").map(Stat)
    }

    /// Target of a link.
    fn link(&self, name: &CStr) -> Option<String> {
        let mut target = [0_u8; libc::PATH_MAX as usize];
        // SAFETY: the name ends with a NUL, and the kernel writes within the length given.
        let length = unsafe {
            libc::readlinkat(
                self.0.as_raw_fd(),
                name.as_ptr(),
                target.as_mut_ptr().cast(),
                target.len(),
            )
        };
        let target = target.get(..usize::try_from(length).ok()?)?;
        Some(String::from_utf8_lossy(target).into_owned())
    }
}

/// More than most of these files contain.
const READ_BYTES: usize = 1024;

fn open_at(directory: RawFd, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the name ends with a NUL.
    let fd = unsafe { libc::openat(directory, name.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just created and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// /proc/PID/stat: the name, in parentheses, may contain spaces and parentheses itself.
struct Stat(Vec<u8>);

impl Stat {
    fn name(&self) -> Option<&[u8]> {
        let begin = memchr::memchr(b'(', &self.0)? + 1;
        let end = memchr::memrchr(b')', &self.0)?;
        self.0.get(begin..end)
    }

    fn start_ticks(&self) -> Option<u64> {
        self.field(22)?.parse().ok()
    }

    /// Whether all threads have exited, and the parent has not waited for the process yet. A main thread that exits before
    /// others is a zombie too.
    fn is_zombie(&self) -> bool {
        let has_others = || {
            let threads = self.field(20).and_then(|count| count.parse::<u32>().ok());
            threads.is_none_or(|count| count > 1)
        };
        matches!(self.field(3), Some("Z" | "X")) && !has_others()
    }

    /// A field by its number in proc(5), from 3 on: the state, which is the first one after the name.
    fn field(&self, number: usize) -> Option<&str> {
        let after_name = memchr::memrchr(b')', &self.0)? + 1;
        let fields = str::from_utf8(self.0.get(after_name..)?).ok()?;
        fields.split_ascii_whitespace().nth(number.checked_sub(3)?)
    }
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
    /// No process has this pid.
    #[error("no process has pid {0}")]
    NotFound(u32),
    /// The id is that of a thread.
    #[error("{pid} is a thread; its process is {tgid}")]
    Thread {
        pid: u32,
        /// The process that the thread belongs to.
        tgid: u32,
    },
    /// /proc has other ids than events.
    #[error(
        "twtrace runs in a pid namespace, and {0} is an id in it that events don't have: run twtrace in the host's (--pid=host, \
         hostPID: true), or filter by --comm"
    )]
    OtherIds(u32),
    /// /proc can't be read.
    #[error("reading /proc/{0}/status")]
    Read(u32, #[source] io::Error),
}

/// Checks that a process with this pid exists.
///
/// # Errors
/// If there is none, or it is the id of a thread.
pub fn check_pid(pid: u32) -> Result<(), PidError> {
    if !pid_namespace::shows_all() {
        return Err(PidError::OtherIds(pid));
    }
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
    fn an_exited_process_is_known_before_and_after_it_is_reaped() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id();
        let key = ProcessKey {
            tgid: pid,
            unattributed: 0,
            start_boot_ns: boot_ns_of_ticks(start_ticks(pid).unwrap()),
        };
        let earlier = ProcessKey {
            start_boot_ns: key.start_boot_ns - 1_000_000_000,
            ..key
        };
        if pid_namespace::shown_pid(key) != Some(pid) {
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        assert!(!has_exited(key));
        assert!(has_exited(earlier), "another process has its pid now");
        child.kill().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !has_exited(key) && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(has_exited(key), "a zombie");
        child.wait().unwrap();
        assert!(has_exited(key));
    }

    #[test]
    fn own_pid_passes_and_none_fails() {
        check_pid(std::process::id()).unwrap();
        assert!(matches!(
            check_pid(u32::MAX),
            Err(PidError::NotFound(u32::MAX))
        ));
    }

    #[test]
    fn this_process_is_read_and_one_that_started_otherwise_is_not() {
        let pid = std::process::id();
        let key = |start_boot_ns| ProcessKey {
            tgid: pid,
            unattributed: 0,
            start_boot_ns,
        };
        let start_boot_ns = boot_ns_of_ticks(start_ticks(pid).unwrap());
        let found = read(key(start_boot_ns), Some(CgroupVersions::All), &|_| None).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(found.exe.as_deref(), exe.to_str());
        let comm = fs::read(format!("/proc/{pid}/comm")).unwrap();
        assert_eq!(found.comm, Comm::from_bytes(comm.trim_ascii_end()));
        assert!(found.cgroup.is_some());
        let found = read(key(start_boot_ns), None, &|_| None).unwrap();
        assert_eq!(found.cgroup, None);
        assert_eq!(read(key(start_boot_ns + tick_ns()), None, &|_| None), None);
        assert_eq!(start_ticks(0), None);
    }

    #[test]
    fn a_name_may_have_parentheses() {
        let mut stat = b"7 (a) b (c) R".to_vec();
        (4..=22).for_each(|field| stat.extend(format!(" {field}").bytes()));
        let stat = Stat(stat);
        assert_eq!(stat.name().unwrap(), b"a) b (c");
        assert_eq!(stat.start_ticks(), Some(22));
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
