//! A BPF map of this process: while a process reads one, the kernel runs no program of a kprobe or a classic tracepoint
//! on that CPU (bpf_disable_instrumentation).

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use super::{bpf::bpf, check, check_long};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const TYPE_HASH: u32 = 1;
/// `BPF_F_NO_PREALLOC`
const NO_PREALLOC: u32 = 1;
/// Number of buckets, all empty: a read walks through all of them without a break.
const ENTRIES: u32 = 1 << 20;

/// The parts of `union bpf_attr` that these commands use.
#[repr(C)]
struct Create {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Sets RLIMIT_MEMLOCK of this process. Returns its old value.
fn memory_lock_limit(new: libc::rlimit) -> io::Result<libc::rlimit> {
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel reads one limit, and writes one.
    check(unsafe { libc::prlimit(0, libc::RLIMIT_MEMLOCK, &raw const new, &raw mut before) })?;
    Ok(before)
}

/// An empty hash map with very many buckets.
pub struct EmptyMap(OwnedFd);

impl EmptyMap {
    /// Creates the map.
    ///
    /// # Errors
    /// errno of bpf().
    pub fn new() -> io::Result<Self> {
        // Before 5.11 its memory counts as locked. If a process may not raise the limit, later kernels need nothing.
        let before = memory_lock_limit(libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        });
        let mut create = Create {
            kind: TYPE_HASH,
            key_size: 8,
            value_size: 8,
            max_entries: ENTRIES,
            flags: NO_PREALLOC,
        };
        // SAFETY: an attribute of that length and for that command.
        let map = unsafe { bpf(MAP_CREATE, &raw mut create, size_of::<Create>()) };
        // A twtrace started later must raise the limit itself.
        if let Ok(before) = before {
            memory_lock_limit(before)?;
        }
        map.map(Self)
    }

    /// Reads the map once.
    ///
    /// # Errors
    /// errno of bpf(): EINVAL before 5.6.
    pub fn read(&self) -> io::Result<()> {
        let (mut next, mut key, mut value) = (0_u32, 0_u64, 0_u64);
        let mut batch = Batch {
            in_batch: 0,
            out_batch: (&raw mut next) as u64,
            keys: (&raw mut key) as u64,
            values: (&raw mut value) as u64,
            count: 1,
            map: self.0.as_raw_fd() as u32,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: an attribute of that length and for that command; it has room for one entry, and outlives the call.
        let read = check_long(unsafe {
            libc::syscall(
                libc::SYS_bpf,
                MAP_LOOKUP_BATCH,
                &raw mut batch,
                size_of::<Batch>(),
            )
        });
        match read {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}
