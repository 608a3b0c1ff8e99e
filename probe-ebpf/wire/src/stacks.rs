//! User stacks of processes that closed or allocated a port, and what they are counted for.

use crate::{ProcessKey, StackWhat};

/// Number of words of the user's stack that are kept for each [`Site`], from the stack pointer upwards.
pub const WINDOW_WORDS: usize = 32;
/// Maximum number of frames that the kernel keeps of a stack (`PERF_MAX_STACK_DEPTH`).
pub const STACK_DEPTH: usize = 127;

/// [`Config::user_registers`](crate::Config): not available.
pub const REGISTERS_ABSENT: u32 = 0;
/// [`Config::user_registers`](crate::Config): from bpf_task_pt_regs() (from 5.15 on).
pub const REGISTERS_BY_HELPER: u32 = 1;
/// [`Config::user_registers`](crate::Config): at the top of the task's kernel stack.
pub const REGISTERS_BY_STACK: u32 = 2;

/// A [`SiteCount`]'s site: no user code is known to have caused it. Softirq closed, or it was before tracing.
pub const NO_SITE: u64 = 0;
/// A [`SiteCount`]'s site: there was no room for it (`--max-stacks`).
pub const LOST_SITE: u64 = u64::MAX;

/// [`Site::stack`]: bits of the stack's number in the map.
pub const STACK_ID_MASK: u32 = 0x00ff_ffff;
/// [`Site::stack`]: it is in `STACKS_MORE`, as its slot in `STACKS` was taken.
pub const STACK_IN_MORE: u32 = 1 << 24;
/// [`Site::stack`]: there is none: the process was exiting, and its memory had been freed.
pub const STACK_OF_EXIT: u32 = u32::MAX;
/// [`Site::stack`]: there is none: a kernel thread acted for a process.
pub const STACK_OF_KERNEL_THREAD: u32 = u32::MAX - 1;
/// [`Site::stack`]: both of its slots were taken.
pub const STACK_LOST: u32 = u32::MAX - 2;

/// Value of the map `SITES`: one user stack of one process, by a hash of everything except `window`, the registers and
/// `ready`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The process.
    pub process: ProcessKey,
    /// Location of the stack by frame pointers, or why there is none: see the constants above.
    pub stack: u32,
    /// Which words of `window` look like return addresses: a call instruction precedes the address.
    pub returns: u32,
    /// The user's instruction pointer, 0 if registers are not available.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer, if the code uses it as one.
    pub bp: u64,
    /// Id of the thread.
    pub tid: u32,
    /// Not 0 once everything is written.
    pub ready: u32,
    /// The stack from `sp` on, as it was the first time.
    pub window: [u64; WINDOW_WORDS],
}

impl Site {
    /// All zero.
    pub const NONE: Self = Self {
        process: ProcessKey {
            tgid: 0,
            unattributed: 0,
            start_boot_ns: 0,
        },
        stack: 0,
        returns: 0,
        ip: 0,
        sp: 0,
        bp: 0,
        tid: 0,
        ready: 0,
        window: [0; WINDOW_WORDS],
    };
}

/// Key of the map `SITE_COUNTS`, whose value is a `u64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteCount {
    /// Key in `SITES`, or [`NO_SITE`] or [`LOST_SITE`].
    pub site: u64,
    /// A code of [`StackWhat`].
    pub what: u32,
    /// Zero.
    pub reserved: u32,
}

impl SiteCount {
    /// A key with these fields.
    pub const fn new(site: u64, what: StackWhat) -> Self {
        Self {
            site,
            what: what as u32,
            reserved: 0,
        }
    }
}

const _: () = assert!(size_of::<Site>() == 16 + 8 + 24 + 8 + 8 * WINDOW_WORDS);
const _: () = assert!(size_of::<SiteCount>() == 16);
