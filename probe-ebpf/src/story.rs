//! Entries of the story maps.

use twtrace_wire::Probe;

use crate::{
    constants::config,
    existing,
    kernel::{Sock, state},
    maps::{MPTCP, STORIES, STORIES_WERE_FULL, STORY_SLOTS, claim, count_lost},
    records::{CLOSED, FORGOTTEN, NEW, STRANGER, Story, StorySlot},
};

/// The story of the socket at an address.
///
/// In its slot of [`STORY_SLOTS`], which is found by arithmetic; or in [`STORIES`], where another socket has the slot, or
/// there are none.
#[inline(always)]
pub fn find(sock: u64) -> Option<*mut Story> {
    if let Some(slot) = slot(sock) {
        // SAFETY: a map value; a slot changes hands when its socket is destroyed.
        unsafe {
            if (*slot).sock == sock {
                return Some(&raw mut (*slot).story);
            }
            if (*slot).spilled == 0 {
                return None;
            }
        }
    }
    STORIES.get_ptr_mut(sock)
}

/// Puts a new story (`NEW` or a [`stranger`]) under a socket's address, over any that was there, to be
/// filled in place. `None`: the map is full.
#[inline(always)]
pub fn begin(sock: u64, story: &'static Story) -> Option<*mut Story> {
    if let Some(slot) = slot(sock) {
        // SAFETY: a map value. Whoever has claimed a slot is the only one to write its story.
        unsafe {
            if (*slot).sock == sock || claim(&raw mut (*slot).sock, sock) {
                (*slot).story = *story;
                return Some(&raw mut (*slot).story);
            }
            // Never taken back: it only says where to look, too.
            (*slot).spilled = 1;
        }
    }
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

/// Forgets a socket's story.
#[inline(always)]
pub fn forget(sock: u64) {
    if let Some(slot) = slot(sock) {
        // SAFETY: a map value; the slot of this socket, which is destroyed once.
        unsafe {
            if (*slot).sock == sock {
                (*slot).sock = 0;
            }
            if (*slot).spilled == 0 {
                return;
            }
        }
    }
    let _ = STORIES.remove(sock);
}

/// The slot of a socket's address, where there are slots. Sockets are some 2 KiB apart in slabs of eight pages and more:
/// a multiplication spreads all their bits.
#[inline(always)]
fn slot(sock: u64) -> Option<*mut StorySlot> {
    let bits = config!(story_slot_bits);
    if bits == 0 {
        return None;
    }
    let spread = (sock >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    STORY_SLOTS.get_ptr_mut((spread >> (64 - bits as u64)) as u32)
}

/// A socket's story; where it has none, `new` is begun.
#[inline(always)]
pub fn of(sock: Sock, new: &'static Story) -> Option<*mut Story> {
    find(sock.0).or_else(|| begin(sock.0, new))
}

/// The story of a socket that is not in CLOSE. One that ended in CLOSE already is that of an earlier socket
/// at this address, whose destruction the kernel skipped our programs for.
#[inline(always)]
pub fn alive(sock: Sock) -> Option<*mut Story> {
    let story = find(sock.0)?;
    // SAFETY: a map value.
    (unsafe { (*story).flags } & CLOSED == 0).then_some(story)
}

/// The story of a socket that is in this state; where it has none, the socket was open when tracing began.
#[inline(always)]
pub fn in_state(sock: Sock, now: u8) -> Option<*mut Story> {
    let story = if now == state::CLOSE {
        find(sock.0)
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
