//! Kernel interfaces of the scenarios: thin wrappers, one topic per file.

pub mod bpf;
pub mod bpf_attach;
pub mod bpf_map;
pub mod btf;
pub mod cgroup;
pub mod clock;
pub mod descriptors;
pub mod hidden_births;
pub mod http;
pub mod inet;
pub mod mount;
pub mod netns;
pub mod proc_net;
pub mod process;
pub mod process_usage;
pub mod slabinfo;
pub mod sock_diag;
pub mod tracefs;
pub mod uring;

use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// The result of a libc call that returns -1 and sets errno.
///
/// # Errors
/// errno, if `result` is negative.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// [`check`] for calls of the width of a pointer.
///
/// # Errors
/// errno, if `result` is negative.
pub fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Repeats a call that a signal interrupted. The end of an io_uring also does that: the kernel runs its last work in
/// the task, as if by a signal.
///
/// # Errors
/// Any other errno of the call.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A size as the kernel's socket calls expect it.
///
/// # Panics
/// Never for the small structs this is used with.
pub fn socklen(size: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(size).unwrap_or(libc::socklen_t::MAX)
}

/// A positive errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errno(pub i32);

impl Errno {
    /// From an I/O error; 0 if that does not come from the kernel.
    pub fn of(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.0))
    }
}
