//! Names of processes: written when a process acts, so that they are known after its exit.

use aya_ebpf::helpers::{bpf_get_current_uid_gid, generated::bpf_probe_read_kernel};
use twtrace_wire::{COMM_LEN, Process, ProcessKey, ProcessNames};

use super::cgroup;
use crate::{
    constants::{config, offset},
    maps::{NAMED, NAMES},
    records::{Actor, Comm, Named},
    sockets::read::read,
};

/// `BPF_NOEXIST`: two CPUs may meet the same new process.
const NO_EXIST: u64 = 1;

/// The generation of names that the start-up scan found. The generation of a process that acts is always odd.
pub const FOUND: u32 = 2;

/// Names are rewritten after a process has acted this many times: the LRU entry may have been evicted.
const NAMED_TIMES: u32 = 64;

/// Whether this CPU last wrote the names of this process, and they have not changed. This costs three more reads, which
/// do not pay if each read is a helper call.
#[inline(always)]
pub fn just_named(actor: &Actor, task: u64, leader: u64) -> bool {
    let key = &actor.key;
    if config!(direct_reads) == 0 {
        return false;
    }
    let Some(last) = NAMED.get_ptr_mut(0) else {
        return false;
    };
    let comm: Comm = read(leader, offset!(task_comm));
    let generation = actor.generation as u64;
    let cred: u64 = read(task, offset!(task_cred));
    // SAFETY: a per-CPU slot. An interrupt between the comparison and the write acts for the same process.
    unsafe {
        let same = (*last).tgid == key.tgid
            && (*last).start_boot_ns == key.start_boot_ns
            && (*last).comm == comm
            && (*last).generation == generation
            && (*last).cred == cred
            && (*last).times < NAMED_TIMES;
        if same {
            (*last).times += 1;
            return true;
        }
        *last = Named {
            start_boot_ns: key.start_boot_ns,
            tgid: key.tgid,
            times: 0,
            comm,
            generation,
            cred,
        };
    }
    false
}

/// Writes the current names of the current process. A global function that takes numbers only: the verifier checks it
/// on its own, once, and not again for each state of its callers. The verifier of 6.1 gave up on some of these states.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn enter_names(
    tgid: u64,
    start_boot_ns: u64,
    task: u64,
    leader: u64,
    generation: u64,
) -> u32 {
    let mut key = ProcessKey {
        tgid: tgid as u32,
        unattributed: 0,
        start_boot_ns,
    };
    let Some(names) = names_of(&key) else {
        return 1;
    };
    // SAFETY: `names` points to a map value; another CPU may write the same names at the same time.
    unsafe {
        let before = (*names).generation;
        if before != 0 && before != generation as u32 {
            // What it has done until now, it did under the previous names.
            key.unattributed = before;
            let _ = NAMES.insert(&key, &*names, 0);
        }
        bpf_probe_read_kernel(
            (&raw mut (*names).comm).cast(),
            COMM_LEN as u32,
            (leader + offset!(task_comm) as u64) as *const _,
        );
        (*names).uid = bpf_get_current_uid_gid() as u32;
        (*names).cgroup_id = cgroup::of_current(task);
        (*names).execs = read(leader, offset!(task_self_exec_id));
        (*names).generation = generation as u32;
    }
    0
}

/// Names a process that has connections from before tracing. If it has acted since, it has newer names; what it did
/// before is reported under the names given here.
#[inline(always)]
pub fn introduce(process: &Process) {
    let mut key = process.key;
    if let Some(names) = NAMES.get_ptr(key) {
        // SAFETY: a map value.
        if unsafe { (*names).generation } != FOUND {
            key.unattributed = FOUND;
        }
    }
    if let Some(names) = names_of(&key) {
        // SAFETY: `names` points to a map value; another CPU may write the same names at the same time.
        unsafe {
            (&raw mut (*names).comm)
                .cast::<Comm>()
                .write((&raw const process.comm).cast::<Comm>().read());
            (*names).uid = process.uid;
            (*names).cgroup_id = process.cgroup_id;
            (*names).execs = process.execs;
            (*names).generation = FOUND;
        }
    }
}

/// The names of a process, created if missing.
#[inline(always)]
fn names_of(key: &ProcessKey) -> Option<*mut ProcessNames> {
    if let Some(names) = NAMES.get_ptr_mut(key) {
        return Some(names);
    }
    let none = ProcessNames {
        comm: [0; COMM_LEN],
        uid: 0,
        execs: 0,
        cgroup_id: 0,
        generation: 0,
        reserved: 0,
    };
    // If there is no room, the LRU map evicts the oldest entry.
    let _ = NAMES.insert(key, &none, NO_EXIST);
    NAMES.get_ptr_mut(key)
}

/// The names that a process had when it acted, if they are still kept.
#[inline(always)]
fn names_then(actor: &Actor) -> Option<*const ProcessNames> {
    let latest = NAMES.get_ptr(actor.key)?;
    // SAFETY: a map value.
    if actor.generation == 0 || unsafe { (*latest).generation } == actor.generation {
        return Some(latest);
    }
    NAMES.get_ptr(ProcessKey {
        unattributed: actor.generation,
        ..actor.key
    })
}

/// Writes a process into an event, with the names it had when it acted.
#[inline(always)]
pub fn fill(process: &mut Process, actor: &Actor) {
    process.key = actor.key;
    let comm = (&raw mut process.comm).cast::<Comm>();
    // SAFETY: `comm` and `thread_comm` are 16 bytes each, at multiples of eight in a `Process`.
    unsafe {
        (&raw mut process.thread_comm)
            .cast::<Comm>()
            .write(actor.thread_comm)
    };
    match names_then(actor) {
        Some(names) if actor.key.tgid != 0 => {
            // SAFETY: a map value that is only ever overwritten with other names. If its slot is given to another
            // process at this moment, these are that process's names.
            unsafe {
                comm.write((&raw const (*names).comm).cast::<Comm>().read());
                process.uid = (*names).uid;
                process.cgroup_id = (*names).cgroup_id;
                process.execs = (*names).execs;
            }
        }
        _ => {
            // SAFETY: as above.
            unsafe { comm.write([0; 2]) };
            process.uid = 0;
            process.cgroup_id = 0;
            process.execs = 0;
        }
    }
}

/// The same, next to a process that is already filled in. Often it is the same process: then its names are copied.
#[inline(always)]
pub fn fill_beside(process: &mut Process, actor: &Actor, filled: &Process, generation: u32) {
    let same = actor.key.tgid == filled.key.tgid
        && actor.generation == generation
        && actor.key.start_boot_ns == filled.key.start_boot_ns
        && actor.key.tgid != 0;
    if !same {
        return fill(process, actor);
    }
    process.key = actor.key;
    process.execs = filled.execs;
    process.uid = filled.uid;
    process.cgroup_id = filled.cgroup_id;
    // SAFETY: names are 16 bytes each, at multiples of eight in a `Process`.
    unsafe {
        (&raw mut process.comm)
            .cast::<Comm>()
            .write((&raw const filled.comm).cast::<Comm>().read());
        (&raw mut process.thread_comm)
            .cast::<Comm>()
            .write(actor.thread_comm);
    }
}
