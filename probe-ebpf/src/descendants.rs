//! Who belongs to the command that is followed: each new process whose parent does.
//!
//! A child is marked before it runs for the first time, so that whoever asks about a process that has acted
//! gets the answer for good: neither double forks nor the parent's exit change it.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use twtrace_wire::{Probe, ProcessKey};

use crate::{
    constants::offset,
    maps::{DESCENDANTS, lost::count_lost},
    processes::process,
    sockets::read::read,
};

/// Children of a task that are looked through for the one that was just made. It is the last one, but for
/// orphans that the task was given meanwhile.
const LAST_CHILDREN: u32 = 8;

/// `struct list_head`: next, prev.
const PREVIOUS: u32 = 8;

/// The current task has forked.
#[inline(always)]
pub fn forked(child: u64) {
    // SAFETY: no arguments, no effect.
    let parent = process::current_key(unsafe { bpf_get_current_task() });
    if DESCENDANTS.get_ptr(parent).is_some() {
        adopt(child, true);
    }
}

/// The current task has forked, and all that is known of the child is its pid: it is looked for among the last
/// children of the task (or of its parent, where the new process was to be a sibling: CLONE_PARENT).
#[inline(always)]
pub fn forked_by_pid(pid: u32, counts_lost: bool) {
    // SAFETY: no arguments, no effect.
    let task = unsafe { bpf_get_current_task() };
    if DESCENDANTS.get_ptr(process::current_key(task)).is_none() {
        return;
    }
    let child = match last_child(task, pid) {
        0 => last_child(read(task, offset!(task_real_parent)), pid),
        child => child,
    };
    // A thread is nobody's child.
    if child != 0 {
        adopt(child, counts_lost);
    }
}

#[inline(always)]
fn last_child(parent: u64, pid: u32) -> u64 {
    let head = parent.wrapping_add(offset!(task_children) as u64);
    let mut node = head;
    for _ in 0..LAST_CHILDREN {
        node = read(node, PREVIOUS);
        if node == 0 || node == head {
            return 0;
        }
        let child = node.wrapping_sub(offset!(task_sibling) as u64);
        if read::<u32>(child, offset!(task_pid)) == pid {
            return child;
        }
    }
    0
}

#[inline(always)]
fn adopt(child: u64, counts_lost: bool) {
    let tgid: u32 = read(child, offset!(task_tgid));
    if read::<u32>(child, offset!(task_pid)) != tgid {
        // A thread of its process.
        return;
    }
    let key = ProcessKey {
        tgid,
        unattributed: 0,
        start_boot_ns: read(child, offset!(task_start_boottime)),
    };
    follow(&key, counts_lost);
}

/// The current process itself is followed, or no more.
#[inline(always)]
pub fn follow_children_of_current(follows: bool) {
    // SAFETY: no arguments, no effect.
    let key = process::current_key(unsafe { bpf_get_current_task() });
    if follows {
        follow(&key, true);
    } else {
        // It need not be there.
        let _ = DESCENDANTS.remove(key);
    }
}

#[inline(always)]
fn follow(key: &ProcessKey, counts_lost: bool) {
    if DESCENDANTS.insert(key, &1_u8, 0).is_err() && counts_lost {
        count_lost(Probe::DescendantMap);
    }
}
