//! What userspace tells the kernel side: the sockets that were there before tracing began.

use crate::{Process, ProcessKey};

/// Key of the map `EXISTING`: the kernel's own identity of a socket, which its mini-socket keeps
/// (inet_twsk_alloc). 0 as long as nobody has asked for it (sock_gen_cookie).
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
    /// Who had it open; `key.tgid` 0 where nobody, or not known.
    pub opener: Process,
    /// [`crate::Side`], by what listened.
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// The map `PROCESS_NOW`: a process as it is, for what /proc says of it at the same time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessNow {
    /// Its identity; all zero for none.
    pub key: ProcessKey,
    /// Its cgroup, as in [`Process`].
    pub cgroup_id: u64,
    /// As in [`Process`].
    pub execs: u32,
    /// 1 while it is in exec(): what /proc says may be of either program.
    pub in_exec: u32,
}

const _: () = assert!(size_of::<ProcessNow>() == 32);
const _: () = assert!(size_of::<ExistingKey>() == 16);
const _: () = assert!(size_of::<Existing>() == 64 + 8);
