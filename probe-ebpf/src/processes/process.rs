//! The current process: who acts in process context.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task};
use twtrace_wire::{ProcessKey, Unattributed};

use crate::{
    constants::offset,
    maps::MPTCP,
    processes::names,
    records::{Actor, CLOSED_BY_WORKER, Conn},
    sockets::{read::read, sock::Sock},
};

/// `task_struct.flags`: a kernel thread (include/linux/sched.h; has not moved since 2.6.35).
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// The process that acts on `sock`. Call this in process context only.
///
/// A kernel thread acts for another process: a subflow's kworker for the one that closed the MPTCP socket; the kworker
/// of a delayed fput() or of an io_uring teardown for one that has exited. In the latter case the result is `Unknown`,
/// and the caller falls back to the opener.
#[inline(always)]
pub fn actor(sock: Sock) -> Actor {
    // SAFETY: the helper takes no arguments and has no side effects.
    let task = unsafe { bpf_get_current_task() };
    let kernel_thread = read::<u32>(task, offset!(task_flags)) & PF_KTHREAD != 0;
    let of_kernel = sock.of_kernel();
    if kernel_thread || of_kernel {
        let mptcp = sock.mptcp_socket();
        if mptcp != 0 {
            if kernel_thread {
                return mptcp_closer(mptcp);
            }
        } else if of_kernel {
            return Actor::nobody(Unattributed::KernelSocket);
        } else {
            return Actor::nobody(Unattributed::Unknown);
        }
    }
    current(task)
}

/// The process that closed an MPTCP socket, or else its opener.
#[inline(always)]
fn mptcp_closer(mptcp: u64) -> Actor {
    match MPTCP.get_ptr(mptcp) {
        // SAFETY: LRU entries may be recycled at any time; a copy of integers can be stale, not invalid.
        Some(conn) => unsafe { *answerable(&*conn) },
        None => Actor::nobody(Unattributed::Unknown),
    }
}

/// Identity of the current process.
#[inline(always)]
pub fn current_key(task: u64) -> ProcessKey {
    key_of(bpf_get_current_pid_tgid(), leader_of(task))
}

#[inline(always)]
fn key_of(pid_tgid: u64, leader: u64) -> ProcessKey {
    ProcessKey {
        tgid: (pid_tgid >> 32) as u32,
        unattributed: 0,
        start_boot_ns: read(leader, offset!(task_start_boottime)),
    }
}

/// The group leader of the current task.
#[inline(always)]
fn leader_of(task: u64) -> u64 {
    let pid_tgid = bpf_get_current_pid_tgid();
    if pid_tgid as u32 == (pid_tgid >> 32) as u32 {
        task
    } else {
        read(task, offset!(task_group_leader))
    }
}

/// The current process. Enters its current names in `NAMES`. Also valid for a task that is exiting: pid, comm and start
/// time outlive mm and nsproxy.
#[inline(always)]
pub fn current(task: u64) -> Actor {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let tid = pid_tgid as u32;
    let leader = leader_of(task);
    let mut actor = Actor {
        key: key_of(pid_tgid, leader),
        tid,
        generation: generation(task, leader),
        thread_comm: [0; 2],
    };
    if tid != tgid {
        actor.thread_comm = read(task, offset!(task_comm));
    }
    if !names::just_named(&actor, task, leader) {
        names::enter_names(
            tgid as u64,
            actor.key.start_boot_ns,
            task,
            leader,
            actor.generation as u64,
        );
    }
    actor
}

/// A number for the program that a process runs and the cgroups it is in. If the number changes, one of them has
/// changed. If it is the same, so are they, unless a new `css_set` has the address of a freed one.
#[inline(always)]
fn generation(task: u64, leader: u64) -> u32 {
    /// Knuth's multiplier: spreads small numbers over all bits.
    const SPREAD: u32 = 0x9e37_79b1;
    let execs: u32 = read(leader, offset!(task_self_exec_id));
    let cgroups: u64 = read(task, offset!(task_cgroups));
    execs.wrapping_mul(SPREAD) ^ (cgroups >> 4) as u32 | 1
}

/// The process that a reset or abort is charged to: the closer if there is one, else the opener, unless somebody else
/// may have closed it.
#[inline(always)]
pub fn answerable(conn: &Conn) -> &Actor {
    if conn.closer.is_process() || conn.flags & CLOSED_BY_WORKER != 0 {
        return &conn.closer;
    }
    if conn.opener.is_process() || conn.closer.key.unattributed == Unattributed::Unknown as u32 {
        return &conn.opener;
    }
    &conn.closer
}
