//! What is remembered of a socket, and of the mini-socket after it.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use twtrace_wire::{Probe, Side, Unattributed};

use crate::{
    maps::{MPTCP, STORIES, count_lost},
    process::Actor,
};

/// Its beginning was not seen.
pub const PRE_EXISTING: u32 = 1 << 0;
/// It went to FIN_WAIT1: its end is a TIME_WAIT, or something went wrong.
pub const ACTIVE_CLOSE: u32 = 1 << 1;
/// Its mini-socket was seen being made, or refused.
pub const BORN: u32 = 1 << 2;
/// →CLOSE was seen.
pub const CLOSED: u32 = 1 << 3;
/// A RST was sent.
pub const RST_SENT: u32 = 1 << 4;
/// A RST was received.
pub const RST_RECEIVED: u32 = 1 << 5;
/// ... which may have been data after close (`flags::MAY_BE_DATA`).
pub const RST_MAY_BE_DATA: u32 = 1 << 6;

/// The story of an open socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Story {
    /// Who connected or accepted it.
    pub opener: Actor,
    /// Who moved it out of ESTABLISHED first.
    pub closer: Actor,
    /// CLOCK_MONOTONIC at ESTABLISHED, or 0.
    pub established_ns: u64,
    /// The constants above.
    pub flags: u32,
    /// [`Side`].
    pub side: u8,
    /// State before →CLOSE.
    pub closed_from: u8,
    pub reserved: [u8; 2],
}

impl Story {
    const fn new(closer: Unattributed) -> Self {
        Self {
            opener: Actor::nobody(Unattributed::Unknown),
            closer: Actor::nobody(closer),
            established_ns: 0,
            flags: PRE_EXISTING,
            side: Side::Unknown as u8,
            closed_from: 0,
            reserved: [0; 2],
        }
    }
}

/// The story of a socket of which nothing is known yet.
pub static NEW: Story = Story::new(Unattributed::Unknown);

/// The story of a socket that had begun to close before tracing.
pub static STRANGER: Story = Story::new(Unattributed::ClosedBeforeTracing);

/// What a mini-socket's end or answer still needs of the story. The hash and ports tell a recycled
/// address apart: mini-sockets come from a SLAB_TYPESAFE_BY_RCU cache, and an address comes back within
/// milliseconds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MiniStory {
    pub closer: Actor,
    pub opener: Actor,
    pub hash: u32,
    pub local_port: u16,
    pub remote_port: u16,
    pub side: u8,
    pub reserved: [u8; 7],
    /// CLOCK_MONOTONIC, or 0.
    pub established_ns: u64,
    /// CLOCK_MONOTONIC when data last went either way, or 0.
    pub last_data_ns: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// Copied into the map before it is filled in place.
pub static NEW_MINI: MiniStory = MiniStory {
    closer: Actor::nobody(Unattributed::Unknown),
    opener: Actor::nobody(Unattributed::Unknown),
    hash: 0,
    local_port: 0,
    remote_port: 0,
    side: 0,
    reserved: [0; 7],
    established_ns: 0,
    last_data_ns: 0,
    bytes_sent: 0,
    bytes_received: 0,
};

/// Puts a new story ([`NEW`] or [`STRANGER`]) under a socket's address, over any that was there, to be
/// filled in place. `None`: the map is full.
#[inline(always)]
pub fn begin(sock: u64, story: &'static Story) -> Option<*mut Story> {
    if STORIES.insert(sock, story, 0).is_err() {
        count_lost(Probe::StoryMap);
        return None;
    }
    STORIES.get_ptr_mut(sock)
}

/// The entry of an MPTCP socket, made where missing. It is no connection of its own: kept for its
/// subflows, which a kworker closes.
#[inline(always)]
pub fn mptcp(sock: u64) -> Option<*mut Story> {
    if let Some(story) = MPTCP.get_ptr_mut(sock) {
        return Some(story);
    }
    let _ = MPTCP.insert(sock, &NEW, 0);
    MPTCP.get_ptr_mut(sock)
}

/// CLOCK_MONOTONIC, nanoseconds.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: no arguments, no effect.
    unsafe { bpf_ktime_get_ns() }
}
