//! Entries of the story maps, and the clock their times are of.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use twtrace_wire::Probe;

use crate::{
    existing,
    kernel::{Sock, state},
    maps::{MPTCP, STORIES, STORIES_WERE_FULL, count_lost},
    records::{CLOSED, FORGOTTEN, NEW, STRANGER, Story},
};

/// Puts a new story (`NEW` or a [`stranger`]) under a socket's address, over any that was there, to be
/// filled in place. `None`: the map is full.
#[inline(always)]
pub fn begin(sock: u64, story: &'static Story) -> Option<*mut Story> {
    if STORIES.insert(sock, story, 0).is_err() {
        count_lost(Probe::StoryMap);
        if let Some(full) = STORIES_WERE_FULL.get_ptr_mut(0) {
            // SAFETY: a map value; everybody writes the same.
            unsafe { *full = 1 };
        }
        return None;
    }
    STORIES.get_ptr_mut(sock)
}

/// A socket's story; where it has none, `new` is begun.
#[inline(always)]
pub fn of(sock: Sock, new: &'static Story) -> Option<*mut Story> {
    STORIES.get_ptr_mut(sock.0).or_else(|| begin(sock.0, new))
}

/// The story of a socket that is not in CLOSE. One that ended in CLOSE already is that of an earlier socket
/// at this address, whose destruction the kernel skipped our programs for.
#[inline(always)]
pub fn alive(sock: Sock) -> Option<*mut Story> {
    let story = STORIES.get_ptr_mut(sock.0)?;
    // SAFETY: a map value.
    (unsafe { (*story).flags } & CLOSED == 0).then_some(story)
}

/// The story of a socket that is in this state; where it has none, the socket was open when tracing began.
#[inline(always)]
pub fn in_state(sock: Sock, now: u8) -> Option<*mut Story> {
    let story = if now == state::CLOSE {
        STORIES.get_ptr_mut(sock.0)
    } else {
        alive(sock)
    };
    if story.is_some() {
        return story;
    }
    let new = match now {
        state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSING | state::LAST_ACK => stranger(),
        _ => &NEW,
    };
    existing::begin(sock, new)
}

/// The story of a socket that is closing and has none.
#[inline(always)]
pub fn stranger() -> &'static Story {
    if were_full() { &FORGOTTEN } else { &STRANGER }
}

/// Whether any story was ever refused.
#[inline(always)]
pub fn were_full() -> bool {
    // SAFETY: a map value that is set once.
    STORIES_WERE_FULL
        .get_ptr(0)
        .is_some_and(|full| unsafe { *full } != 0)
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
