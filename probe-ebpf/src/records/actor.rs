//! A process that acts, and the names that were last written.

use twtrace_wire::{COMM_LEN, ProcessKey, Unattributed};

/// A process or thread name (`comm`) as 64-bit words.
pub type Comm = [u64; COMM_LEN / 8];

/// A process (or the reason why there is none) and its thread that acted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Actor {
    pub key: ProcessKey,
    /// Thread id; 0 if there is no process.
    pub tid: u32,
    /// Number of the program that it ran and of its cgroup: selects the names of that time. 0: the latest names.
    pub generation: u32,
    /// Name of the thread if it is not the leader, else zero. In words: byte arrays are cleared byte by byte.
    pub thread_comm: Comm,
}

/// Charged where no process is responsible, or none is proven to be.
pub static NOBODY: Actor = Actor::nobody(Unattributed::Unknown);

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

    /// Whether it is this process. A thread-group id alone may be another one's by now.
    #[inline(always)]
    pub fn is_of(&self, process: &ProcessKey) -> bool {
        self.key.tgid == process.tgid && self.key.start_boot_ns == process.start_boot_ns
    }
}

/// What a process was when its names were last written on this CPU. While all of it is unchanged, the names need not be
/// written again.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Named {
    pub start_boot_ns: u64,
    pub tgid: u32,
    /// How often it was found unchanged.
    pub times: u32,
    pub comm: Comm,
    /// As in [`Actor::generation`].
    pub generation: u64,
    /// Address of the task's `cred`, which changes with its user.
    pub cred: u64,
}
