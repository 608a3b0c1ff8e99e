//! The process that starts readers of symbols. It is forked while the tracer may still change its user and has one
//! thread, and has no rights but to start and kill its children. So a reader that failed can be replaced after the
//! tracer has dropped its privileges, which also takes away its right to signal another user's process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::memory::Memory;
use super::sandbox;
use crate::allocator;
use crate::scan::descriptor;

/// The only request: ends the present reader, and starts one with the socket that comes with it.
const START: &[u8] = b"s";
/// Time to answer: a fork, and the end of a process.
const PATIENCE: Duration = Duration::from_secs(2);
/// Exit code of a reader that could not drop its rights.
const NOT_CONFINED: libc::c_int = 3;

/// What a reader does with its socket until that is closed.
pub type Work = fn(&OwnedFd, &Memory);

/// The process, as the tracer sees it.
#[derive(Debug)]
pub struct Launcher {
    /// `None` only during drop.
    control: Option<OwnedFd>,
    child: libc::pid_t,
}

/// A reader that was started.
#[derive(Debug)]
pub struct Started {
    /// Does not block.
    pub socket: OwnedFd,
    pub pid: libc::pid_t,
    /// How the one before it ended, as waitpid() has it; `None` if there was none.
    pub previous: Option<libc::c_int>,
}

impl Launcher {
    /// Starts the process. To be called before privileges are dropped, and while there are no other threads.
    ///
    /// # Errors
    /// errno of socketpair() or fork().
    pub fn open(work: Work) -> io::Result<Self> {
        let (control, childs_end) = descriptor::pair()?;
        // SAFETY: getpid() can't fail.
        let own = unsafe { libc::getpid() };
        match fork()? {
            0 => {
                drop(control);
                leave(|| serve(childs_end, own, work))
            }
            child => Ok(Self {
                control: Some(control),
                child,
            }),
        }
    }

    /// Replaces the reader, or starts the first one.
    ///
    /// # Errors
    /// If the process has ended, or does not answer.
    pub fn start_reader(&self) -> io::Result<Started> {
        let ended = || io::Error::other("the process that starts readers of symbols has ended");
        let control = self.control.as_ref().ok_or_else(ended)?;
        let (socket, readers_end) = descriptor::pair()?;
        descriptor::send(control, START, &[readers_end.as_fd()]).map_err(|_| ended())?;
        drop(readers_end);
        descriptor::set_nonblocking(&socket)?;
        if !wait_readable(control, Instant::now() + PATIENCE)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut answer = [0; 8];
        let (length, _) = descriptor::receive(control, &mut answer)?;
        if length != answer.len() {
            return Err(ended());
        }
        let [pid, previous] = [0, 4].map(|at| {
            let word = answer[at..at + 4].try_into().unwrap_or_default();
            i32::from_ne_bytes(word)
        });
        if pid < 0 {
            return Err(io::Error::other("a reader of symbols can't be started"));
        }
        Ok(Started {
            socket,
            pid,
            previous: (previous >= 0).then_some(previous),
        })
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // The child ends when its control socket is closed, after it has killed its own child.
        self.control = None;
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(self.child, std::ptr::null_mut(), 0) };
    }
}

/// Waits until something can be received, or the other end is closed; false if neither was so in time.
pub fn wait_readable(socket: &OwnedFd, until: Instant) -> io::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up: otherwise the last millisecond would be a busy loop.
        let wait_ms = i32::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        let mut waited = libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one struct, which lives until here.
        match unsafe { libc::poll(&raw mut waited, 1, wait_ms) } {
            0 => return Ok(false),
            1.. => return Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

fn fork() -> io::Result<libc::pid_t> {
    // SAFETY: there are no other threads, so every lock is free in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Runs what a child does, and ends it without running what its parent has set up.
fn leave(work: impl FnOnce() -> libc::c_int) -> ! {
    let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(1);
    // SAFETY: ends the child.
    unsafe { libc::_exit(code) }
}

fn serve(control: OwnedFd, parent: libc::pid_t, work: Work) -> libc::c_int {
    // Nobody reads it, and a message may take further system calls.
    log::set_max_level(log::LevelFilter::Off);
    // Ctrl-C is sent to the whole group; the tracer decides when to end.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: SIG_IGN is a valid action for all of them.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: a NUL-terminated name.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"twtrace-symbols".as_ptr()) };
    let Ok(control) = descriptor::close_all_but(control) else {
        return 1;
    };
    if sandbox::confine_launcher(parent).is_err() {
        return NOT_CONFINED;
    }
    let mut present = None;
    let mut request = [0; START.len()];
    while let Ok((length, sockets)) = descriptor::receive(&control, &mut request) {
        let previous = present.take().map_or(-1, end);
        let (true, Some(socket)) = (length > 0, sockets.into_iter().next()) else {
            break;
        };
        let Ok(pid) = start(socket, &control, work) else {
            break;
        };
        present = Some(pid);
        let mut answer = pid.to_ne_bytes().to_vec();
        answer.extend(previous.to_ne_bytes());
        if descriptor::send(&control, &answer, &[]).is_err() {
            break;
        }
    }
    present.map(end);
    0
}

fn start(socket: OwnedFd, control: &OwnedFd, work: Work) -> io::Result<libc::pid_t> {
    // SAFETY: getpid() can't fail.
    let own = unsafe { libc::getpid() };
    match fork()? {
        0 => leave(|| {
            // SAFETY: the child has a descriptor of its own, which it uses nowhere.
            unsafe { libc::close(control.as_raw_fd()) };
            allocator::keep_free_memory();
            let memory = Memory::open();
            if sandbox::confine_reader(own, memory.at_start).is_err() {
                return NOT_CONFINED;
            }
            work(&socket, &memory);
            0
        }),
        pid => Ok(pid),
    }
}

/// Kills a child; returns how it ended, which may have been before.
fn end(child: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: a child that was not waited for yet, and a place for its status.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &raw mut status, 0);
    }
    status
}
