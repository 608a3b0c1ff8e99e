//! Data from userspace to the kernel side: the sockets that existed before tracing began.

use crate::{Process, ProcessKey};

/// Key of the map `EXISTING`: the kernel's own identity of a socket, which its mini-socket keeps (inet_twsk_alloc). 0
/// until it is first requested (sock_gen_cookie).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExistingKey {
    /// `skc_cookie`. Before 5.11 each namespace counts its own.
    pub cookie: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Zero.
    pub reserved: u32,
}

/// Value of the map `EXISTING`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The process that had it open; `key.tgid` 0 if none, or not known.
    pub opener: Process,
    /// [`crate::Side`], according to the listeners.
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// The map `PROCESS_NOW`: the current state of a process, for comparison with what /proc shows at the same time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessNow {
    /// Its identity; all zero for none.
    pub key: ProcessKey,
    /// Its cgroup, as in [`Process`].
    pub cgroup_id: u64,
    /// As in [`Process`].
    pub execs: u32,
    /// 1 during exec(): what /proc shows may be of either program.
    pub in_exec: u32,
}

const _: () = assert!(size_of::<ProcessNow>() == 32);
const _: () = assert!(size_of::<ExistingKey>() == 16);
const _: () = assert!(size_of::<Existing>() == 64 + 8);
