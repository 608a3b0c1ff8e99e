//! Names, exit and children of processes.

use std::{
    fs, io,
    os::fd::RawFd,
    thread,
    time::{Duration, Instant},
};

use super::{check, check_long};

/// Sets the calling thread's comm; for a group leader that is the process's name. At most 15 bytes.
///
/// # Errors
/// errno of prctl().
pub fn set_name(name: &str) -> io::Result<()> {
    let mut bytes = [0_u8; 16];
    let length = name.len().min(15);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    // SAFETY: the kernel reads up to 16 bytes, and the last one is zero.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr()) }).map(drop)
}

/// Changes to a user without capabilities, for good.
pub fn drop_privileges() -> io::Result<()> {
    const NOBODY: libc::uid_t = 65_534;
    // SAFETY: an integer.
    check(unsafe { libc::setuid(NOBODY) }).map(drop)
}

/// Makes the kernel kill this process when its parent thread ends.
///
/// # Errors
/// errno of prctl().
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
}

/// Closes every descriptor above standard error except `kept`.
///
/// # Errors
/// errno of close_range() (Linux 5.9).
pub fn close_all_but(kept: RawFd) -> io::Result<()> {
    let close_range = |first: RawFd, last: libc::c_uint| {
        // SAFETY: integers only; the caller is a fresh child that uses none of these.
        check_long(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
    };
    if kept > 3 {
        close_range(3, libc::c_uint::try_from(kept - 1).unwrap_or(0))?;
    }
    close_range(kept + 1, libc::c_uint::MAX).map(drop)
}

/// Sends a signal to one process.
///
/// # Errors
/// errno of kill().
pub fn signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Gives the programs that this process starts the default signal dispositions, whatever its own are: a shell ignores
/// SIGINT for what it runs in the background, `nohup` SIGHUP. exec() does not pass on a handler that does nothing, and
/// this process itself ignores the signal as before.
///
/// # Errors
/// errno of sigaction().
pub fn give_children_default_signals() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: plain bytes, for which zero is valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one sigaction.
        check(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) })?;
        if action.sa_sigaction != libc::SIG_IGN {
            continue;
        }
        action.sa_sigaction = nothing as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler does nothing, which is safe at any time.
        check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

/// Waits for a child to end; `false` if it still runs after `limit`.
pub fn reap(pid: i32, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        // SAFETY: a null status is allowed.
        let ended = unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        if ended != 0 {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A field of a /proc/PID/status.
pub fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| {
        let (of, value) = line.split_once(':')?;
        (of == name).then(|| value.trim())
    })
}

/// The version of Landlock that this kernel has; 0 if it has none.
pub fn landlock_version() -> i64 {
    const VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag nothing is read.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    version.max(0)
}

/// Whether this machine is emulated instruction by instruction (QEMU's TCG), 10 to 20 times slower.
pub fn emulated() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("TCG"))
}

/// How many CPUs are online.
pub fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps the calling thread, and what it starts, on one CPU.
///
/// # Errors
/// errno of sched_setaffinity(): EINVAL if there is no such CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    pin_process(0, cpu)
}

/// Raises the limit of open descriptors as far as it goes.
///
/// # Errors
/// errno of getrlimit() and setrlimit().
pub fn allow_all_descriptors() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes the structure, which lives through the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit_descriptors(limit.rlim_max)
}

/// Sets both limits of open descriptors.
///
/// # Errors
/// errno of setrlimit(): EPERM for more than the present limit, without CAP_SYS_RESOURCE.
pub fn limit_descriptors(max: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: max,
        rlim_max: max,
    };
    // SAFETY: the kernel reads the structure, which lives through the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}

/// Keeps a thread on one CPU. 0 is the calling one.
///
/// # Errors
/// errno of sched_setaffinity(): EINVAL if there is no such CPU.
pub fn pin_process(thread: i32, cpu: usize) -> io::Result<()> {
    // SAFETY: plain bits, for which zero is valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: indexes beyond the set are ignored.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: reads the set, whose size is given.
    check(unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set) })
        .map(drop)
}
/// Keeps the mounts of this process in its own mount namespace. Makes only a system call, so it may run between fork
/// and exec.
///
/// # Errors
/// errno of mount().
pub fn keep_mounts_private() -> io::Result<()> {
    let nothing = std::ptr::null();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: a NUL-terminated string, or none.
    check(unsafe { libc::mount(nothing, c"/".as_ptr(), nothing, private, nothing.cast()) })
        .map(drop)
}
