//! Processes that make system calls which their work does not need.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::ptr::{null, null_mut};

use super::*;
use crate::scan::{descriptor, sock_diag};

const EVERY_WORK: [Work; 6] = [
    Work::Trace {
        writes_files: false,
        has_command: false,
    },
    Work::ServeHttp,
    Work::KeepHistory,
    Work::EnterNamespaces,
    Work::ReadRecordings {
        writes_files: false,
    },
    Work::ReadHistory,
];

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// errno.
    Failed(i32),
    /// The signal that ended the process.
    Killed(i32),
}

const REFUSED: Outcome = Outcome::Failed(libc::EPERM);

type Attempt = fn() -> io::Result<()>;

/// Makes an attempt in a process of its own, which is restricted to the work.
fn outcome(work: Work, attempt: Attempt) -> Outcome {
    /// It could not be restricted.
    const UNRESTRICTED: i32 = 255;
    // SAFETY: the C library makes fork() safe for what the child does, which takes no lock of this crate.
    let child = match unsafe { libc::fork() } {
        0 => {
            // SAFETY: integers only.
            let is_set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0;
            let code = match restrict_to(work, Extent::Process) {
                Ok(true) if is_set => match attempt() {
                    Ok(()) => 0,
                    Err(error) => error.raw_os_error().unwrap_or(UNRESTRICTED - 1),
                },
                _ => UNRESTRICTED,
            };
            // SAFETY: ends the child.
            unsafe { libc::_exit(code) }
        }
        child => child,
    };
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: a place for the status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFSIGNALED(status) {
        return Outcome::Killed(libc::WTERMSIG(status));
    }
    match libc::WEXITSTATUS(status) {
        0 => Outcome::Done,
        code => {
            assert_ne!(code, UNRESTRICTED, "not restricted");
            Outcome::Failed(code)
        }
    }
}

fn checked(result: i64) -> io::Result<()> {
    match result {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn call(number: libc::c_long, arguments: [i64; 4]) -> io::Result<()> {
    let [a, b, c, d] = arguments;
    // SAFETY: integers, and null pointers, which the kernel refuses.
    checked(unsafe { libc::syscall(number, a, b, c, d) })
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    // SAFETY: integers only.
    checked(i64::from(unsafe { libc::socket(family, kind, protocol) }))
}

#[test]
fn what_no_work_needs_is_refused() {
    let attempts: &[(&str, Attempt)] = &[
        ("fork", || {
            call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0])
        }),
        ("network", || socket(libc::AF_INET, libc::SOCK_STREAM, 0)),
        ("network 6", || socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)),
        ("packets", || socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
        ("local", || socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)),
        ("routes", || {
            socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
        }),
        ("connect", || call(libc::SYS_connect, [0; 4])),
        ("bind", || call(libc::SYS_bind, [0; 4])),
        ("listen", || call(libc::SYS_listen, [0; 4])),
        ("mounts", || {
            call(libc::SYS_setns, [0, libc::CLONE_NEWNS.into(), 0, 0])
        }),
        ("any namespace", || call(libc::SYS_setns, [0; 4])),
        ("unshare", || call(libc::SYS_unshare, [0; 4])),
        ("user", || call(libc::SYS_setresuid, [-1; 4])),
        ("a signal", || {
            call(libc::SYS_kill, [1, libc::SIGKILL.into(), 0, 0])
        }),
        ("another signal", || {
            call(libc::SYS_kill, [i32::MAX.into(), libc::SIGHUP.into(), 0, 0])
        }),
        ("a thread of another", || {
            call(libc::SYS_tgkill, [1, 1, 0, 0])
        }),
        ("code", || {
            let (rights, flags) = (libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new mapping, which nobody uses.
            match unsafe { libc::mmap(null_mut(), 4096, rights, flags, -1, 0) } {
                libc::MAP_FAILED => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        }),
        ("input of the terminal", || {
            call(libc::SYS_ioctl, [0, libc::TIOCSTI.cast_signed(), 0, 0])
        }),
        ("dumpable", || {
            call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0])
        }),
        ("limits", || call(libc::SYS_prlimit64, [0, 0, 1 << 32, 0])),
        ("openat2", || call(libc::SYS_openat2, [0; 4])),
        ("seccomp", || call(libc::SYS_seccomp, [0; 4])),
        ("perf", || call(libc::SYS_perf_event_open, [0; 4])),
    ];
    for work in EVERY_WORK {
        for (what, attempt) in attempts {
            assert_eq!(outcome(work, *attempt), REFUSED, "{work:?}: {what}");
        }
    }
}

#[test]
fn what_only_an_intruder_needs_ends_the_process() {
    let attempts: &[(&str, Attempt)] = &[
        ("ptrace", || call(libc::SYS_ptrace, [0x4206, 1, 0, 0])),
        ("memory of others", || {
            // SAFETY: empty lists.
            checked(unsafe { libc::process_vm_writev(1, null(), 0, null(), 0, 0) } as i64)
        }),
        ("descriptors of others", || {
            call(libc::SYS_pidfd_getfd, [0; 4])
        }),
        ("exec", || {
            // SAFETY: a path that ends with NUL, and empty lists.
            checked(unsafe { libc::execve(c"/bin/true".as_ptr(), null(), null()) }.into())
        }),
        ("modules", || call(libc::SYS_finit_module, [-1, 0, 0, 0])),
        ("keys", || call(libc::SYS_keyctl, [0; 4])),
        ("page faults", || call(libc::SYS_userfaultfd, [0; 4])),
        ("rings", || call(libc::SYS_io_uring_setup, [0; 4])),
        ("mounts", || call(libc::SYS_mount, [0; 4])),
        ("new mounts", || call(libc::SYS_fsopen, [0; 4])),
        // BPF_MAP_CREATE, BPF_PROG_LOAD, BPF_OBJ_GET, BPF_PROG_ATTACH, BPF_MAP_GET_FD_BY_ID
        ("maps", || call(libc::SYS_bpf, [0; 4])),
        ("programs", || call(libc::SYS_bpf, [5, 0, 0, 0])),
        ("pinned", || call(libc::SYS_bpf, [7, 0, 0, 0])),
        ("attach", || call(libc::SYS_bpf, [8, 0, 0, 0])),
        ("maps of others", || call(libc::SYS_bpf, [14, 0, 0, 0])),
    ];
    for work in EVERY_WORK {
        for (what, attempt) in attempts {
            let killed = Outcome::Killed(libc::SIGSYS);
            assert_eq!(outcome(work, *attempt), killed, "{work:?}: {what}");
        }
    }
}

#[test]
fn nothing_is_written_by_what_only_reads() {
    let opens: &[(&str, Attempt)] = &[
        ("write", || {
            OpenOptions::new().append(true).open("/dev/null").map(drop)
        }),
        ("memory", || {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .open("/proc/self/mem")
                .map(drop)
        }),
        ("truncate", || File::create("/dev/null").map(drop)),
        ("create", || File::create_new("/nonexistent/file").map(drop)),
        ("temporary", || {
            let flags = libc::O_TMPFILE | libc::O_RDWR;
            call(libc::SYS_openat, [-1, 0, flags.into(), 0])
        }),
        ("remove", || fs::remove_file("/nonexistent/file")),
        ("rename", || {
            fs::rename("/nonexistent/file", "/nonexistent/other")
        }),
        ("link", || {
            fs::hard_link("/nonexistent/file", "/nonexistent/other")
        }),
        ("directory", || fs::create_dir("/nonexistent/directory")),
    ];
    for work in EVERY_WORK {
        if matches!(work, Work::KeepHistory | Work::ReadHistory) {
            continue;
        }
        for (what, attempt) in opens {
            assert_eq!(outcome(work, *attempt), REFUSED, "{work:?}: {what}");
        }
    }
    // With outputs: what is new, and nothing that exists.
    for work in [
        Work::Trace {
            writes_files: true,
            has_command: true,
        },
        Work::ReadRecordings { writes_files: true },
    ] {
        for (what, attempt) in opens {
            let expected = match *what {
                "create" | "remove" | "rename" | "link" => Outcome::Failed(libc::ENOENT),
                _ => REFUSED,
            };
            assert_eq!(outcome(work, *attempt), expected, "{work:?}: {what}");
        }
    }
}

#[test]
fn what_the_work_needs_is_done() {
    let threads: Attempt = || {
        let thread = std::thread::Builder::new().spawn(|| ())?;
        thread.join().map_err(|_| io::Error::other("panicked"))
    };
    for work in EVERY_WORK {
        let expected = match work {
            Work::EnterNamespaces => REFUSED,
            _ => Outcome::Done,
        };
        assert_eq!(outcome(work, threads), expected, "{work:?}");
    }
    let reading: Attempt = || {
        fs::read_dir("/proc/self/fd")?;
        fs::read_link("/proc/self/exe")?;
        fs::read("/proc/self/status").map(drop)
    };
    let sockets: Attempt = || sock_diag::open().map(drop);
    let message: Attempt = || {
        let (one, other): (OwnedFd, OwnedFd) = descriptor::pair()?;
        descriptor::send(&one, b"text", &[])?;
        descriptor::receive(&other, &mut [0; 4]).map(drop)
    };
    for (work, attempt) in [
        (EVERY_WORK[0], reading),
        (EVERY_WORK[0], sockets),
        (EVERY_WORK[0], message),
        (Work::EnterNamespaces, reading),
        (Work::EnterNamespaces, sockets),
        (EVERY_WORK[4], reading),
        (Work::ReadHistory, reading),
    ] {
        assert_eq!(outcome(work, attempt), Outcome::Done, "{work:?}");
    }
    assert_eq!(outcome(Work::ServeHttp, reading), REFUSED);
    for work in [EVERY_WORK[1], EVERY_WORK[4], Work::ReadHistory] {
        assert_eq!(outcome(work, sockets), REFUSED, "{work:?}");
    }
    // To itself, which ignores it.
    let signals: Attempt = || {
        // SAFETY: SIG_IGN is a valid action.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        // SAFETY: getpid() can't fail.
        let own = unsafe { libc::getpid() };
        call(libc::SYS_kill, [own.into(), libc::SIGHUP.into(), 0, 0])
    };
    let with_command = Work::Trace {
        writes_files: false,
        has_command: true,
    };
    assert_eq!(outcome(with_command, signals), Outcome::Done);
    let aborts: Attempt = || std::process::abort();
    let aborted = Outcome::Killed(libc::SIGABRT);
    assert_eq!(outcome(EVERY_WORK[0], aborts), aborted);
}

#[test]
fn all_threads_are_restricted_or_one() {
    let seccomp_of_threads = |extent: Extent| {
        // SAFETY: as in `outcome`.
        match unsafe { libc::fork() } {
            0 => {
                let (stop, wait) = std::sync::mpsc::channel::<()>();
                let thread = std::thread::spawn(move || {
                    let _ = wait.recv();
                    // What only an intruder needs.
                    let _ = call(libc::SYS_keyctl, [0; 4]);
                });
                // SAFETY: integers only.
                unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
                let restricted = restrict_to(EVERY_WORK[0], extent);
                drop(stop);
                let _ = thread.join();
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(!restricted.is_ok_and(|it| it))) }
            }
            child => {
                let mut status = 0;
                // SAFETY: a place for the status.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                status
            }
        }
    };
    assert_eq!(seccomp_of_threads(Extent::Thread), 0);
    let status = seccomp_of_threads(Extent::Process);
    assert_eq!(libc::WTERMSIG(status), libc::SIGSYS);
}
