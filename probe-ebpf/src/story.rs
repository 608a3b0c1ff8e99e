//! Entries of the story maps, and the clock their times are of.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use twtrace_wire::Probe;

use crate::{
    maps::{MPTCP, STORIES, count_lost},
    records::{NEW, Story},
};

/// Puts a new story (`NEW` or `STRANGER`) under a socket's address, over any that was there, to be
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
