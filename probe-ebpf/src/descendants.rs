//! Processes of the traced command: each new process whose parent is one of them.
//!
//! A child is marked before it first runs, so that the answer for a process that has acted is final: neither double
//! forks nor the parent's exit change it.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use twtrace_wire::{Probe, ProcessKey};

use crate::{
    constants::offset,
    maps::{DESCENDANTS, lost::count_lost},
    processes::process,
    sockets::read::read,
};

/// How many children of a task are searched for the new one. It is the last one, except for orphans that the task has
/// adopted since.
const LAST_CHILDREN: u32 = 8;

/// `struct list_head`: next, prev.
const PREVIOUS: u32 = 8;

/// The current task has forked `child`, a `struct task_struct`.
#[inline(always)]
pub fn forked(child: u64) {
    // SAFETY: the helper takes no arguments and has no side effects.
    let parent = process::current_key(unsafe { bpf_get_current_task() });
    if DESCENDANTS.get_ptr(parent).is_some() {
        adopt(child, true);
    }
}

/// The current task has forked, and only the child's pid is known. It is searched for among the last children of the
/// task, or of its parent, if the new process is a sibling (CLONE_PARENT).
#[inline(always)]
pub fn forked_by_pid(pid: u32, counts_lost: bool) {
    // SAFETY: the helper takes no arguments and has no side effects.
    let task = unsafe { bpf_get_current_task() };
    if DESCENDANTS.get_ptr(process::current_key(task)).is_none() {
        return;
    }
    let child = match last_child(task, pid) {
        0 => last_child(read(task, offset!(task_real_parent)), pid),
        child => child,
    };
    // A thread is no child of any task.
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
        // A thread of its process, not a new process.
        return;
    }
    let key = ProcessKey {
        tgid,
        unattributed: 0,
        start_boot_ns: read(child, offset!(task_start_boottime)),
    };
    follow(&key, counts_lost);
}

/// Adds the current process to those of the traced command, or removes it.
#[inline(always)]
pub fn follow_children_of_current(follows: bool) {
    // SAFETY: the helper takes no arguments and has no side effects.
    let key = process::current_key(unsafe { bpf_get_current_task() });
    if follows {
        follow(&key, true);
    } else {
        // The entry may be missing.
        let _ = DESCENDANTS.remove(key);
    }
}

#[inline(always)]
fn follow(key: &ProcessKey, counts_lost: bool) {
    if DESCENDANTS.insert(key, &1_u8, 0).is_err() && counts_lost {
        count_lost(Probe::DescendantMap);
    }
}
