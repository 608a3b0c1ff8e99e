//! Takes away the rights of the processes that read symbols, as far as the kernel can: another user, no capabilities,
//! limits, Landlock, and a list of permitted system calls.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::memory::Used;
use crate::confine::{Reach, confine_to};
use crate::privilege;

/// User ids that systemd and the usual ranges of containers leave unused begin here: no process of another user may send
/// these processes a signal, which one of `nobody` could.
const FIRST_USER: libc::uid_t = 1_900_000_000;

/// Memory that a reader may take, bytes; its resident size is this, its code, and what it had at the start.
const DATA_BYTES: libc::rlim_t = 168 << 20;
/// Address space that a reader may take, bytes.
const ADDRESS_BYTES: libc::rlim_t = 512 << 20;
/// CPU time of a reader, seconds. The tracer replaces it long before, unless it has been taken over.
const CPU_SECONDS: libc::rlim_t = 60;
/// Open files of a reader.
const OPEN_FILES: libc::rlim_t = 64;

/// Why the rights could not be dropped: then nothing is read.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A system call failed.
    #[error("{0}: {1}")]
    Call(&'static str, io::Error),
    /// The parent has ended.
    #[error("the parent has ended")]
    Orphan,
    /// Landlock failed.
    #[error("Landlock: {0}")]
    Landlock(String),
    /// The list of system calls was refused.
    #[error("seccomp: {0}")]
    Seccomp(String),
}

/// For the process that starts readers, which has read nothing yet.
pub fn confine_launcher(parent: libc::pid_t) -> Result<(), SandboxError> {
    // SAFETY: getpid() can't fail.
    let own = unsafe { libc::getpid() };
    let user = FIRST_USER + own.unsigned_abs();
    privilege::become_unprivileged(user).map_err(|error| SandboxError::Call("user", error))?;
    // No process of the same user may trace it, nor is its memory written to a file.
    control(libc::PR_SET_DUMPABLE, 0)?;
    end_with(parent)?;
    limit(libc::RLIMIT_CORE, 0)
}

/// For a process that reads hostile files. What it may do afterwards: compute, read what is open, receive and send on
/// its socket. Any other system call kills it. `at_start` is the memory that it has now.
pub fn confine_reader(parent: libc::pid_t, at_start: Used) -> Result<(), SandboxError> {
    end_with(parent)?;
    for (resource, most) in [
        (libc::RLIMIT_DATA, at_start.data + DATA_BYTES),
        (libc::RLIMIT_AS, at_start.addresses + ADDRESS_BYTES),
        (libc::RLIMIT_CPU, CPU_SECONDS),
        (libc::RLIMIT_NOFILE, OPEN_FILES),
        (libc::RLIMIT_NPROC, 0),
        (libc::RLIMIT_FSIZE, 0),
    ] {
        limit(resource, most)?;
    }
    // A kernel without Landlock has the other limits.
    confine_to(Reach::Nothing).map_err(|error| SandboxError::Landlock(format!("{error:#}")))?;
    let seccomp = |error: &dyn std::error::Error| SandboxError::Seccomp(error.to_string());
    let filter = filter().map_err(|error| seccomp(&error))?;
    seccompiler::apply_filter(&filter).map_err(|error| seccomp(&error))
}

fn control(option: libc::c_int, value: libc::c_int) -> Result<(), SandboxError> {
    // SAFETY: the options that are used here take only numbers.
    match unsafe { libc::prctl(option, value, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(SandboxError::Call("prctl", io::Error::last_os_error())),
    }
}

/// Has the kernel kill this process when its parent ends. To be called after the user has changed.
fn end_with(parent: libc::pid_t) -> Result<(), SandboxError> {
    control(libc::PR_SET_PDEATHSIG, libc::SIGKILL)?;
    // SAFETY: getppid() can't fail.
    match unsafe { libc::getppid() } {
        own if own == parent => Ok(()),
        _ => Err(SandboxError::Orphan),
    }
}

fn limit(resource: libc::__rlimit_resource_t, most: libc::rlim_t) -> Result<(), SandboxError> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a struct that lives until here.
    let read = unsafe { libc::getrlimit(resource, &raw mut limit) };
    // An unprivileged process can't raise it.
    let most = most.min(limit.rlim_max);
    (limit.rlim_cur, limit.rlim_max) = (most, most);
    // SAFETY: as above.
    if read != 0 || unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
        return Err(SandboxError::Call("setrlimit", io::Error::last_os_error()));
    }
    Ok(())
}

/// The system calls that a reader makes, its allocator, and Rust's handlers of a panic.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let plain = [
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_close,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let has = |argument: u8, mask: libc::c_int, value: libc::c_int| {
        // The bits, not the number.
        let bits = |number: libc::c_int| u64::from(number.cast_unsigned());
        let compared = SeccompCmpOp::MaskedEq(bits(mask));
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compared, bits(value))
    };
    // No code, and no file: one that is cut short would send SIGBUS.
    let anonymous = SeccompRule::new(vec![
        has(2, libc::PROT_EXEC, 0)?,
        has(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS)?,
    ])?;
    let without_code = SeccompRule::new(vec![has(2, libc::PROT_EXEC, 0)?])?;
    // The standard library asks whether a descriptor is open before it closes it, if debug assertions are on.
    let is_open = SeccompRule::new(vec![has(1, -1, libc::F_GETFD)?])?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        plain.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_mmap, vec![anonymous]);
    rules.insert(libc::SYS_mprotect, vec![without_code]);
    rules.insert(libc::SYS_fcntl, vec![is_open]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}
