//! The cgroup of a task.

use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use twtrace_wire::{ABSENT, CGROUP_V1};

use crate::{
    constants::{config, offset},
    sockets::read::read,
};

/// Id of the root cgroup of each hierarchy (fs/kernfs/dir.c).
const ROOT_CGROUP: u64 = 1;

/// The cgroup of the current task: in the v1 hierarchy that userspace chose, if the task is in one of its cgroups, else
/// in v2. Also valid for a task that is exiting.
#[inline(always)]
pub fn of_current(task: u64) -> u64 {
    match of_v1(task) {
        // SAFETY: the helper takes no arguments and has no side effects.
        0 => unsafe { bpf_get_current_cgroup_id() },
        id => id,
    }
}

/// The same for any task; 0 if it is not known.
#[inline(always)]
pub fn of_task(task: u64) -> u64 {
    let id = of_v1(task);
    if id != 0 || offset!(css_set_dfl_cgrp) == ABSENT || offset!(kernfs_id) == ABSENT {
        return id;
    }
    let set: u64 = read(task, offset!(task_cgroups));
    id_of(read(set, offset!(css_set_dfl_cgrp)))
}

#[inline(always)]
fn id_of(cgroup: u64) -> u64 {
    let node: u64 = read(cgroup, offset!(cgroup_kn));
    read(node, offset!(kernfs_id))
}

/// The cgroup of a task in the chosen v1 hierarchy; 0 if it is in none of its cgroups.
#[inline(always)]
fn of_v1(task: u64) -> u64 {
    let controller = config!(cgroup_controller);
    if controller == ABSENT {
        return 0;
    }
    let set: u64 = read(task, offset!(task_cgroups));
    let state: u64 = read(set, controller);
    let id = id_of(read(state, offset!(css_cgroup)));
    if id > ROOT_CGROUP { id | CGROUP_V1 } else { 0 }
}
