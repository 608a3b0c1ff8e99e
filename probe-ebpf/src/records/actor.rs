//! A process as it acts, and what it was called last.

use twtrace_wire::{COMM_LEN, ProcessKey, Unattributed};

/// A comm as two words.
pub type Comm = [u64; COMM_LEN / 8];

/// A process (or why there is none) and the thread of it that acted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Actor {
    pub key: ProcessKey,
    /// Thread id, 0 where there is no process.
    pub tid: u32,
    /// Which program it ran, in which cgroup: which of its names are those of then. 0: the latest.
    pub generation: u32,
    /// The thread's own comm where it is not the leader, else zero.
    /// In words: byte arrays are cleared byte by byte.
    pub thread_comm: Comm,
}

impl Actor {
    #[inline(always)]
    pub const fn nobody(why: Unattributed) -> Self {
        Self {
            key: ProcessKey {
                tgid: 0,
                unattributed: why as u32,
                start_boot_ns: 0,
            },
            tid: 0,
            generation: 0,
            thread_comm: [0; 2],
        }
    }

    #[inline(always)]
    pub fn is_process(&self) -> bool {
        self.key.tgid != 0
    }
}

/// What a process was when its names were last written on this CPU: as long as it is all that, they need not be written
/// again.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Named {
    pub start_boot_ns: u64,
    pub tgid: u32,
    /// How often it was found the same.
    pub times: u32,
    pub comm: Comm,
    /// [`Actor::generation`]
    pub generation: u64,
    /// `cred`, which changes with its user.
    pub cred: u64,
}
