//! Processes that read symbols and try what they must not.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use super::launcher::{Launcher, Started, Work, wait_readable};
use crate::scan::descriptor;

const PATIENCE: Duration = Duration::from_secs(10);
const ALIVE: &[u8] = b"alive";

/// The message of a reader; `None` if it has ended without one.
fn message(started: &Started) -> Option<Vec<u8>> {
    assert!(wait_readable(&started.socket, Instant::now() + PATIENCE).unwrap());
    let mut buffer = [0; 64];
    let (length, _) = descriptor::receive(&started.socket, &mut buffer).ok()?;
    (length > 0).then(|| buffer[..length].to_vec())
}

/// The signal that ended a reader which does this and then reports that it lives; `None` if it does live.
fn ended_by(work: Work) -> Option<libc::c_int> {
    let launcher = Launcher::open(work).unwrap();
    let first = launcher.start_reader().unwrap();
    let answer = message(&first);
    let second = launcher.start_reader().unwrap();
    let status = second.previous.unwrap();
    (answer.as_deref() != Some(ALIVE)).then(|| libc::WTERMSIG(status))
}

fn lives(socket: &OwnedFd) {
    let _ = descriptor::send(socket, ALIVE, &[]);
    let _ = descriptor::receive(socket, &mut [0; 1]);
}

fn status(pid: libc::pid_t, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

#[test]
fn a_reader_that_does_its_work_lives() {
    let works: Work = |socket, memory| {
        let mut text = vec![0_u8; 40 << 20];
        text.extend_from_within(..1 << 20);
        drop(text);
        if !memory.exceeds(64 << 20) {
            lives(socket);
        }
    };
    assert_eq!(ended_by(works), None);
}

#[test]
fn a_reader_has_no_rights() {
    let launcher = Launcher::open(|socket, _| lives(socket)).unwrap();
    let reader = launcher.start_reader().unwrap();
    assert_eq!(message(&reader).as_deref(), Some(ALIVE));
    // SAFETY: geteuid() can't fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let starts_it: libc::pid_t = status(reader.pid, "PPid").parse().unwrap();
    for (pid, seccomp) in [(starts_it, "0"), (reader.pid, "2")] {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(pid, set), "0000000000000000", "{set}");
        }
        if is_root {
            assert_eq!(status(pid, "CapBnd"), "0000000000000000");
            for ids in ["Uid", "Gid"] {
                let ids = status(pid, ids);
                assert!(ids.split_whitespace().all(|id| id != "0"), "{ids}");
            }
            assert_eq!(status(pid, "Groups"), "");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1");
        assert_eq!(status(pid, "Seccomp"), seccomp);
        if is_root {
            // The socket, the standard streams, and for a reader how much memory it uses.
            let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
            assert!(open <= 5, "{open} descriptors");
        }
    }
}

#[test]
fn a_reader_that_tries_more_is_killed() {
    let attempts: [(&str, Work); 12] = [
        ("open", |socket, _| {
            let _ = File::open("/etc/passwd");
            lives(socket);
        }),
        ("stat", |socket, _| {
            let _ = fs::metadata("/");
            lives(socket);
        }),
        ("exec", |socket, _| {
            // SAFETY: a path that ends with NUL, and empty lists.
            unsafe { libc::execve(c"/bin/true".as_ptr(), null(), null()) };
            lives(socket);
        }),
        ("fork", |socket, _| {
            // SAFETY: the child only ends.
            if unsafe { libc::fork() } == 0 {
                // SAFETY: as above.
                unsafe { libc::_exit(0) }
            }
            lives(socket);
        }),
        ("a network socket", |socket, _| {
            // SAFETY: integers only.
            unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
            lives(socket);
        }),
        ("a local socket", |socket, _| {
            let _ = descriptor::pair();
            lives(socket);
        }),
        ("a signal", |socket, _| {
            // SAFETY: integers only.
            unsafe { libc::syscall(libc::SYS_kill, 1, 0) };
            lives(socket);
        }),
        ("ptrace", |socket, _| {
            // SAFETY: integers only.
            unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, 1, 0, 0) };
            lives(socket);
        }),
        ("another's memory", |socket, _| {
            // SAFETY: empty lists.
            unsafe { libc::process_vm_writev(1, null(), 0, null(), 0, 0) };
            lives(socket);
        }),
        ("code", |socket, _| {
            let (rights, flags) = (libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new mapping, which nobody uses.
            unsafe { libc::mmap(null_mut(), 4096, rights, flags, -1, 0) };
            lives(socket);
        }),
        ("a mapped file", |socket, _| {
            let file = socket.as_raw_fd();
            // SAFETY: as above.
            unsafe {
                libc::mmap(
                    null_mut(),
                    4096,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE,
                    file,
                    0,
                )
            };
            lives(socket);
        }),
        ("eBPF", |socket, _| {
            // SAFETY: integers only.
            unsafe { libc::syscall(libc::SYS_bpf, 0, 0, 0) };
            lives(socket);
        }),
    ];
    for (what, attempt) in attempts {
        assert_eq!(ended_by(attempt), Some(libc::SIGSYS), "{what}");
    }
}

#[test]
fn memory_is_limited() {
    let takes: Work = |socket, _| {
        // More than the limits and all that other tests have at that moment, which the process begins with.
        let taken = vec![0_u8; 4 << 30];
        if std::hint::black_box(&taken).len() > 1 {
            lives(socket);
        }
    };
    // Rust's handler calls abort(), which is not permitted either.
    assert!(ended_by(takes).is_some());
}

#[test]
fn all_ends_with_the_launcher() {
    let launcher = Launcher::open(|socket, _| lives(socket)).unwrap();
    let reader = launcher.start_reader().unwrap();
    assert_eq!(message(&reader).as_deref(), Some(ALIVE));
    drop(launcher);
    // SAFETY: no signal is sent.
    let gone = unsafe { libc::kill(reader.pid, 0) } != 0;
    assert!(gone || status(reader.pid, "State").starts_with('Z'));
}
