//! Takes away the system calls that a process or a thread does not need (seccomp), in addition to capabilities and
//! Landlock: what is taken over by untrusted input can then neither run a program, nor write to another process, nor reach
//! the network.
//!
//! A call that is not on the list of a process fails with EPERM: the C library may make one that nobody foresaw, and a tracer
//! that has run for weeks must survive that. Calls that no code here makes ([`HOSTILE`]) end the process: what makes them
//! has been taken over, and an error would let it try the next one. `clone3` fails with ENOSYS, as its flags are in memory
//! that a filter can't read; the C library then calls `clone`, which may only start threads.
//!
//! The process that reads symbols has a list of its own, which is shorter (`stack/sandbox.rs`).

mod lists;

use std::collections::BTreeMap;
use std::io;
use std::sync::Once;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use lists::{BASIC, BPF_COMMANDS, DATABASE, HOSTILE, LOOP, MESSAGES, READING, TRACING, WRITING};

/// What a process or a thread does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reads maps of attached programs, sockets of the kernel, and /proc.
    Trace {
        /// Whether it still creates, renames or removes files.
        writes_files: bool,
        /// Whether it passes signals on to a command that it has started.
        has_command: bool,
    },
    /// Serves HTTP by sockets that are open.
    ServeHttp,
    /// Writes a history.
    KeepHistory,
    /// Enters network namespaces, and opens sockets and settings there.
    EnterNamespaces,
    /// Reads recordings.
    ReadRecordings {
        /// Whether it still creates, renames or removes files.
        writes_files: bool,
    },
    /// Reads a history, whose index SQLite writes.
    ReadHistory,
}

/// Why system calls were not restricted.
#[derive(Debug, thiserror::Error)]
pub enum RestrictError {
    /// The list can't be expressed.
    #[error(transparent)]
    List(#[from] BackendError),
    /// The kernel refuses the list.
    #[error("seccomp: {0}")]
    Refused(#[source] io::Error),
}

/// Which threads are restricted, besides those that they start later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This one: others have lists of their own, or will have.
    Thread,
    /// All.
    Process,
}

/// From now on only the system calls are made that this work needs. Permanent. To be called when no_new_privs is set. False
/// if this kernel has no seccomp.
///
/// # Errors
/// If the kernel refuses.
pub fn restrict_to(work: Work, extent: Extent) -> Result<bool, RestrictError> {
    // The last one no longer permits this call.
    for program in [hostile()?, clone3()?, permitted(work)?] {
        match install(&program, extent) {
            Ok(()) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
                return Ok(false);
            }
            Err(error) => return Err(RestrictError::Refused(error)),
        }
    }
    Ok(true)
}

/// Logs if system calls could not be restricted, once for all threads; the process continues.
pub fn warn_on_failure(restricted: Result<bool, RestrictError>) {
    static LOGGED: Once = Once::new();
    match restricted {
        Ok(true) => {}
        Ok(false) => LOGGED.call_once(|| {
            log::info!("this kernel has no seccomp: system calls are not restricted")
        }),
        Err(error) => {
            LOGGED.call_once(|| log::warn!("can't restrict system calls: {error}"));
        }
    }
}

/// The permitted calls of one list.
#[derive(Debug, Default)]
struct Calls(BTreeMap<i64, Vec<SeccompRule>>);

impl Calls {
    /// Permits calls, whatever their arguments.
    fn add(&mut self, calls: &[i64]) {
        self.0.extend(calls.iter().map(|call| (*call, Vec::new())));
    }

    /// Permits a call if all of these conditions hold. If it is added again, other conditions may hold instead.
    fn add_if(&mut self, call: i64, conditions: Vec<SeccompCondition>) -> Result<(), BackendError> {
        let rule = SeccompRule::new(conditions)?;
        self.0.entry(call).or_default().push(rule);
        Ok(())
    }

    fn compile(
        self,
        listed: SeccompAction,
        others: SeccompAction,
    ) -> Result<BpfProgram, BackendError> {
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(self.0, others, listed, arch)?.try_into()
    }
}

/// The lower half of an argument, which is all that the kernel uses of these: its bits in `mask` are those of `value`.
fn bits(
    argument: u8,
    mask: libc::c_int,
    value: libc::c_int,
) -> Result<SeccompCondition, BackendError> {
    let number = |number: libc::c_int| u64::from(number.cast_unsigned());
    let compared = SeccompCmpOp::MaskedEq(number(mask));
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compared, number(value))
}

fn equals(argument: u8, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    bits(argument, -1, value)
}

fn differs(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    let compared = SeccompCmpOp::Ne;
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compared, value)
}

fn hostile() -> Result<BpfProgram, BackendError> {
    let mut calls = Calls::default();
    calls.add(HOSTILE);
    let others = BPF_COMMANDS.map(|command| differs(0, u64::from(command.cast_unsigned())));
    calls.add_if(libc::SYS_bpf, others.into_iter().collect::<Result<_, _>>()?)?;
    calls.compile(SeccompAction::KillProcess, SeccompAction::Allow)
}

fn clone3() -> Result<BpfProgram, BackendError> {
    let mut calls = Calls::default();
    calls.add(&[libc::SYS_clone3]);
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    calls.compile(missing, SeccompAction::Allow)
}

fn permitted(work: Work) -> Result<BpfProgram, BackendError> {
    let mut calls = Calls::default();
    calls.add(BASIC);
    // SAFETY: getpid() can't fail.
    let own = unsafe { libc::getpid() };
    // abort() and raise().
    calls.add_if(libc::SYS_tgkill, vec![equals(0, own)?])?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        calls.add_if(call, vec![bits(2, libc::PROT_EXEC, 0)?])?;
    }
    // Input that a terminal takes for the user's.
    let (inserts, selects) = (libc::TIOCSTI, libc::TIOCLINUX);
    calls.add_if(
        libc::SYS_ioctl,
        vec![differs(1, inserts)?, differs(1, selects)?],
    )?;
    // The name of a thread; no_new_privs, which Landlock's library asks for again; names of memory in the C library.
    for option in [
        libc::PR_SET_NAME,
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_SET_VMA,
    ] {
        calls.add_if(libc::SYS_prctl, vec![equals(0, option)?])?;
    }
    // Limits are read, and not set: a null pointer.
    let reads = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    calls.add_if(libc::SYS_prlimit64, vec![equals(0, 0)?, reads])?;
    let threads = libc::CLONE_VM | libc::CLONE_THREAD;
    if work != Work::EnterNamespaces {
        calls.add_if(libc::SYS_clone, vec![bits(0, threads, threads)?])?;
    }
    match work {
        Work::Trace {
            writes_files,
            has_command,
        } => {
            for list in [LOOP, READING, MESSAGES, TRACING] {
                calls.add(list);
            }
            add_tracing(&mut calls, has_command)?;
            add_open(&mut calls, writes_files)?;
        }
        Work::ServeHttp => {
            for list in [LOOP, MESSAGES] {
                calls.add(list);
            }
            calls.add(&[
                libc::SYS_accept4,
                libc::SYS_getpeername,
                libc::SYS_getsockname,
                libc::SYS_shutdown,
            ]);
        }
        Work::KeepHistory | Work::ReadHistory => {
            for list in [LOOP, READING, WRITING, DATABASE] {
                calls.add(list);
            }
            // SQLite writes its files in place. Landlock says where they are.
            calls.add(&[libc::SYS_openat]);
            calls.add_if(libc::SYS_socketpair, vec![equals(0, libc::AF_UNIX)?])?;
            calls.add(&[libc::SYS_recvfrom, libc::SYS_sendto]);
        }
        Work::EnterNamespaces => {
            calls.add(READING);
            calls.add(&[libc::SYS_recvmsg, libc::SYS_sendmsg]);
            calls.add_if(libc::SYS_setns, vec![equals(1, libc::CLONE_NEWNET)?])?;
            add_diag_socket(&mut calls)?;
            add_open(&mut calls, false)?;
        }
        Work::ReadRecordings { writes_files } => {
            for list in [LOOP, READING] {
                calls.add(list);
            }
            // Wake-ups by signals.
            calls.add_if(libc::SYS_socketpair, vec![equals(0, libc::AF_UNIX)?])?;
            calls.add(&[libc::SYS_recvfrom, libc::SYS_sendto]);
            add_open(&mut calls, writes_files)?;
        }
    }
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    calls.compile(SeccompAction::Allow, refused)
}

fn add_tracing(calls: &mut Calls, has_command: bool) -> Result<(), BackendError> {
    for command in BPF_COMMANDS {
        calls.add_if(libc::SYS_bpf, vec![equals(0, command)?])?;
    }
    // Whether a process exists.
    let signals: &[libc::c_int] = match has_command {
        false => &[0],
        true => &[0, libc::SIGTERM, libc::SIGHUP],
    };
    for signal in signals {
        calls.add_if(libc::SYS_kill, vec![equals(1, *signal)?])?;
    }
    // Cgroups by their ids.
    let reads = bits(2, libc::O_ACCMODE, libc::O_RDONLY)?;
    calls.add_if(libc::SYS_open_by_handle_at, vec![reads])?;
    // Messages to the service manager.
    let kind = bits(1, 0xf, libc::SOCK_DGRAM)?;
    calls.add_if(libc::SYS_socket, vec![equals(0, libc::AF_UNIX)?, kind])?;
    add_diag_socket(calls)
}

fn add_diag_socket(calls: &mut Calls) -> Result<(), BackendError> {
    let (family, protocol) = (libc::AF_NETLINK, libc::NETLINK_SOCK_DIAG);
    calls.add_if(
        libc::SYS_socket,
        vec![equals(0, family)?, equals(2, protocol)?],
    )
}

/// Opens for reading; with `writes_files` also creates what does not exist. What exists is never opened for writing:
/// /proc/PID/mem is memory of another process.
fn add_open(calls: &mut Calls, writes_files: bool) -> Result<(), BackendError> {
    let changes = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    calls.add_if(libc::SYS_openat, vec![bits(2, changes, libc::O_RDONLY)?])?;
    if writes_files {
        let new = libc::O_CREAT | libc::O_EXCL;
        calls.add_if(libc::SYS_openat, vec![bits(2, new, new)?])?;
        calls.add(WRITING);
    }
    Ok(())
}

/// SECCOMP_FILTER_FLAG_SPEC_ALLOW: before 5.16 a filter switched speculative loads off, which slows the process down. It runs
/// no code of others that could make use of them.
fn install(program: &BpfProgram, extent: Extent) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    let everywhere = match extent {
        Extent::Thread => 0,
        Extent::Process => libc::SECCOMP_FILTER_FLAG_TSYNC,
    };
    // SAFETY: the program is copied before the call returns, and has the given length.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | everywhere,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        ..0 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!(
            "thread {thread} has a list of its own"
        ))),
    }
}

#[cfg(test)]
mod tests;
