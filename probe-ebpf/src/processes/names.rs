//! What processes are called: written when they act, so that whoever has exited since has a name.

use aya_ebpf::helpers::{bpf_get_current_uid_gid, generated::bpf_probe_read_kernel};
use twtrace_wire::{COMM_LEN, Process, ProcessKey, ProcessNames};

use super::cgroup;
use crate::{
    constants::{config, offset},
    maps::{NAMED, NAMES},
    records::{Actor, Comm, Named},
    sockets::read::read,
};

/// BPF_NOEXIST: two CPUs may meet the same new process.
const NO_EXIST: u64 = 1;

/// The generation of names that the start-up scan found: no process that acts has an even one.
pub const FOUND: u32 = 2;

/// Names are written at least each so many times that a process acts: an LRU entry may be gone meanwhile.
const NAMED_TIMES: u32 = 64;

/// Whether this CPU wrote the names of this very process last, and it still has them. Three reads more, which do not pay
/// where each takes a call.
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
    // SAFETY: a per-CPU slot. What interrupts this between the look and the writing acts for the same process.
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

/// Writes the names that the current process has now. A global function, which takes numbers only: the verifier looks at
/// it by itself, once, and not again for each state that its callers may be in: that of 6.1 gave up on some of them.
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
    // SAFETY: `names` points to a map value; another CPU may write the same names at this time.
    unsafe {
        let before = (*names).generation;
        if before != 0 && before != generation as u32 {
            // What it did until now it did under these.
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

/// Names a process that has connections from before tracing began. One that has acted since has names of its own: what it
/// did before is told under these.
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
        // SAFETY: `names` points to a map value; another CPU may write the same names at this time.
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

/// The names of a process, made where missing.
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
    // The oldest has to go where there is no room.
    let _ = NAMES.insert(key, &none, NO_EXIST);
    NAMES.get_ptr_mut(key)
}

/// The names that a process had when it acted, where they are still kept.
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
            // SAFETY: a map value that is only ever overwritten with other names; where its slot is given to
            // another process at this very time, that one's.
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

/// The same, beside a process that is filled in already and is often the same one: then its names are taken.
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
