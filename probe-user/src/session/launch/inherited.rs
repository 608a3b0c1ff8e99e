//! Signals and limits that the command inherits as twtrace found them.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Signals that twtrace handles itself, and SIGCHLD, which reports the command's end.
const TAKEN: [libc::c_int; 5] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGCHLD,
];

/// Signals that are ignored, which exec() keeps, and the limit that loading probes raises.
#[derive(Clone, Debug)]
pub struct Inherited {
    ignored: Vec<libc::c_int>,
    memlock: Option<libc::rlimit>,
}

impl Inherited {
    /// Reads the current state.
    pub fn take() -> Self {
        let ignored = TAKEN.into_iter().filter(|signal| is_ignored(*signal));
        let inherited = Self {
            ignored: ignored.collect(),
            memlock: memlock(),
        };
        if inherited.ignores(libc::SIGCHLD) {
            // While it is ignored, exit statuses are lost.
            // SAFETY: SIG_DFL is a valid action.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        }
        inherited
    }

    pub fn ignores(&self, signal: libc::c_int) -> bool {
        self.ignored.contains(&signal)
    }

    /// Restores it. Makes system calls only, so it may run between fork() and exec().
    ///
    /// # Errors
    /// errno of setrlimit().
    pub fn restore(&self) -> io::Result<()> {
        for signal in &self.ignored {
            // SAFETY: SIG_IGN is a valid action.
            unsafe { libc::signal(*signal, libc::SIG_IGN) };
        }
        if let Some(memlock) = &self.memlock {
            // SAFETY: the pointer is to a valid limit.
            if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, memlock) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action only queries; the result is written to a local of the right type, which may be all zero.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn memlock() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a local of the right type.
    (unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } == 0).then_some(limit)
}
