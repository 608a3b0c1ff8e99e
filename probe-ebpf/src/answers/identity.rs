//! Identifies the process or network namespace whose file userspace has open.

use twtrace_wire::{ABSENT, ProcessKey, ProcessNow};

use crate::{
    constants::{config, offset},
    maps::{NETNS_IDENTITY, PROCESS_NOW},
    processes::cgroup,
    sockets::{
        descriptor::file_of,
        read::{has_bit, read},
        tuple::netns_key,
    },
};

/// `enum pid_type` (include/linux/pid_types.h; since 4.19).
const PIDTYPE_TGID: u32 = 1;

/// Answers userspace, which runs the program itself: the process whose directory in /proc the caller has open under
/// this descriptor, the program that it runs, and its cgroup. /proc shows the start time of a process only to the clock
/// tick, but in events it is part of the process's identity, to the nanosecond. The id is that of the initial pid
/// namespace, whatever the caller's namespace is.
#[inline(always)]
pub fn answer_process_now(descriptor: u64) {
    if let Some(answer) = PROCESS_NOW.get_ptr_mut(0) {
        // SAFETY: a map value; there is only one caller.
        unsafe { *answer = process_now(descriptor) }
    }
}

/// Answers userspace, which runs the program itself: the network namespace whose file the caller has open under this
/// descriptor.
#[inline(always)]
pub fn answer_netns_identity(descriptor: u64) {
    if let Some(answer) = NETNS_IDENTITY.get_ptr_mut(0) {
        // SAFETY: a map value; there is only one caller.
        unsafe { *answer = netns_key(net_of(descriptor)) }
    }
}

/// The `struct net` of a namespace's file, or 0: `file` → `inode.i_private` (fs/nsfs.c), which is the `ns_common` in
/// the `struct net`.
#[inline(always)]
pub fn net_of(descriptor: u64) -> u64 {
    if offset!(inode_private) == ABSENT || offset!(net_ns) == ABSENT {
        return 0;
    }
    let file = file_of(descriptor);
    if file == 0 {
        return 0;
    }
    let inode: u64 = read(file, offset!(file_inode));
    let common: u64 = read(inode, offset!(inode_private));
    if common == 0 {
        return 0;
    }
    common.wrapping_sub(offset!(net_ns) as u64)
}

#[inline(always)]
fn process_now(descriptor: u64) -> ProcessNow {
    let leader = leader_of(descriptor);
    if leader == 0 {
        return NO_PROCESS;
    }
    ProcessNow {
        key: ProcessKey {
            tgid: read(leader, offset!(task_tgid)),
            unattributed: 0,
            start_boot_ns: read(leader, offset!(task_start_boottime)),
        },
        cgroup_id: cgroup::of_task(leader),
        execs: read(leader, offset!(task_self_exec_id)),
        in_exec: is_in_exec(leader) as u32,
    }
}

const NO_PROCESS: ProcessNow = ProcessNow {
    key: ProcessKey {
        tgid: 0,
        unattributed: 0,
        start_boot_ns: 0,
    },
    cgroup_id: 0,
    execs: 0,
    in_exec: 0,
};

/// Whether a task is in exec(). Set before the new program's memory is taken, and reset after `self_exec_id` has grown
/// (fs/exec.c).
#[inline(always)]
fn is_in_exec(task: u64) -> bool {
    has_bit(task, config!(in_execve_bit))
}

/// The leader of a process, or 0: `file` → `proc_inode.pid` (fs/proc/internal.h) → the first task in
/// `pid.tasks[PIDTYPE_TGID]`.
#[inline(always)]
fn leader_of(descriptor: u64) -> u64 {
    if offset!(proc_inode_pid) == ABSENT
        || offset!(proc_inode_vfs_inode) == ABSENT
        || offset!(pid_tasks) == ABSENT
        || offset!(task_pid_links) == ABSENT
    {
        return 0;
    }
    let file = file_of(descriptor);
    if file == 0 {
        return 0;
    }
    let inode: u64 = read(file, offset!(file_inode));
    let proc_inode = inode.wrapping_sub(offset!(proc_inode_vfs_inode) as u64);
    let pid: u64 = read(proc_inode, offset!(proc_inode_pid));
    if pid == 0 {
        return 0;
    }
    // The head of a list is one pointer, a node two.
    let node: u64 = read(pid, offset!(pid_tasks) + PIDTYPE_TGID * 8);
    if node == 0 {
        return 0;
    }
    node.wrapping_sub((offset!(task_pid_links) + PIDTYPE_TGID * 16) as u64)
}
