//! What has to be found out about this kernel before the programs load.

use std::{borrow::Cow, fs};

use twtrace_core::hooks::plan::{self, Attach};
use twtrace_wire::{ABSENT, Offsets};

use super::{ProbeError, btf::KernelBtf, direct_reads::READ_BY_LOAD};
use crate::enrich::hierarchies::Hierarchies;

const POINTER_BYTES: u32 = 8;

/// Members that a kernel may lack: what needs them is reported as not known.
const OPTIONAL: &[&str] = &[
    "file_count",
    "file_ref",
    "net_hash_mix",
    "net_ns",
    "net_tcp_hashinfo",
    "hashinfo_ehash",
    "hashinfo_ehash_mask",
    "hashinfo_bhash",
    "hashinfo_bhash_size",
    "bhash_chain",
    "bind_bucket_net",
    "bind_bucket_port",
    "bind_bucket_fastreuse",
    "bind_bucket_fastreuseport",
    "bind_bucket_node",
    "inode_private",
    "icsk_ulp_ops",
    "icsk_ulp_data",
    "subflow_conn",
    "ulp_name",
    "tcp_linger2",
    "tcp_mss_clamp",
    "tcp_last_oow_ack_time",
    "tcp_rack_mstamp",
    "tcp_bytes_retrans",
    "inet_local_port_range",
    "task_pid_links",
    "pid_tasks",
    "proc_inode_pid",
    "proc_inode_vfs_inode",
    "css_cgroup",
    "css_set_dfl_cgrp",
    "cgroup_kn",
    "kernfs_id",
];

/// Names to find in BTF beside those of [`Offsets::SOURCES`] and of the plans.
const NAMES: &[&str] = &[
    SLEEPABLE_TRACEPOINTS,
    READ_BY_LOAD,
    "btf_trace_tcp_send_reset",
    "bpf_func_id",
    "cgroup",
    "cgroup_subsys_id",
    "cgroup_subsys_state",
    "css_set",
    "inet_timewait_sock",
    "kernfs_node",
    "sk_rst_reason",
    "sock",
    "task_struct",
];

/// Class of the lock that tracepoints take if programs in them can be preempted.
const SLEEPABLE_TRACEPOINTS: &str = "class_srcu_fast_notrace_t";

/// All names to find in the kernel's BTF.
pub fn names() -> Vec<Cow<'static, str>> {
    let structs = Offsets::SOURCES
        .iter()
        .flat_map(|(_, places)| places.iter().map(|(strct, _)| *strct));
    let counted = plan::candidates().filter_map(|candidate| candidate.condition.function());
    structs
        .chain(plan::functions())
        .chain(counted)
        .chain(NAMES.iter().copied())
        .map(Cow::Borrowed)
        .chain(raw_tracepoints().map(|name| Cow::Owned(KernelBtf::tracepoint_typedef(name))))
        .collect()
}

fn raw_tracepoints() -> impl Iterator<Item = &'static str> {
    plan::candidates()
        .flat_map(|candidate| candidate.parts)
        .filter_map(|(_, attach)| match attach {
            Attach::RawTracepoint(name) => Some(*name),
            _ => None,
        })
}

/// All offsets that the programs need.
///
/// # Errors
/// If a member that twtrace requires is missing.
pub fn offsets(btf: &KernelBtf) -> Result<Offsets, ProbeError> {
    let mut values = [ABSENT; Offsets::SOURCES.len()];
    for (value, (name, places)) in values.iter_mut().zip(Offsets::SOURCES) {
        let found = places
            .iter()
            .find_map(|(strct, path)| btf.member_offset(strct, path));
        match (found, places.first()) {
            (Some(offset), _) => *value = offset,
            (None, Some((strct, member))) if !OPTIONAL.contains(name) => {
                return Err(ProbeError::NoMember { strct, member });
            }
            _ => {}
        }
    }
    Ok(Offsets::from_values(&values))
}

/// Offset in a `css_set` of the best mounted v1 controller's state, or [`ABSENT`].
pub fn cgroup_controller(btf: &KernelBtf) -> u32 {
    let Some((controller, _)) = Hierarchies::find().v1 else {
        return ABSENT;
    };
    let members = [
        ("task_struct", "cgroups"),
        ("cgroup_subsys_state", "cgroup"),
        ("cgroup", "kn"),
        ("kernfs_node", "id"),
    ];
    let has_all = members
        .iter()
        .all(|(strct, member)| btf.member_offset(strct, member).is_some());
    let wanted = controller.kernel_name();
    let index = btf
        .enum_values("cgroup_subsys_id")
        .into_iter()
        .find_map(|(index, name)| (name == wanted).then_some(index));
    match (btf.member_offset("css_set", "subsys"), index) {
        (Some(states), Some(index)) if has_all => states + index * POINTER_BYTES,
        _ => ABSENT,
    }
}

/// Length of the kernel's tick, which is the resolution of its coarse clock.
pub fn tick_ns() -> u64 {
    let mut resolution = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local of the right type.
    unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) };
    resolution.tv_nsec.unsigned_abs()
}

/// Where the kernel may preempt one of our programs while it runs. The program counts as running on that CPU until
/// its task continues, and until then it is skipped for every other task there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preemption {
    pub tracepoints: bool,
    /// In fentry and fexit (__bpf_prog_enter_recur only disables migration, since 5.12).
    pub functions: bool,
}

impl Preemption {
    /// By the kernel's preemption model. Tracepoints are preemptible on kernels where `srcu_fast_notrace` guards them
    /// (include/linux/tracepoint.h; in 7.3, not in 6.18), whose class BTF shows.
    pub fn of(btf: &KernelBtf) -> Self {
        let mode = fs::read_to_string("/sys/kernel/debug/sched/preempt").ok();
        let version = fs::read_to_string("/proc/sys/kernel/version").unwrap_or_default();
        let functions = preempts(mode.as_deref(), &version);
        Self {
            tracepoints: functions && btf.has_typedef(SLEEPABLE_TRACEPOINTS),
            functions,
        }
    }
}

/// Whether another task may preempt a task in the kernel. `mode` is written `none voluntary (full)`, if debugfs shows
/// it. Otherwise the kernel's version says whether it can preempt, and it is assumed to do so.
fn preempts(mode: Option<&str>, version: &str) -> bool {
    match mode.and_then(|mode| mode.split_once('(')?.1.split_once(')')) {
        Some((mode, _)) => !matches!(mode, "none" | "voluntary"),
        None => version.contains("PREEMPT"),
    }
}

/// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK.
pub fn raise_memlock_limit() {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // Refused without CAP_SYS_RESOURCE. Newer kernels don't need it; older ones report it at the first map.
    // SAFETY: the pointer is to a local of the right type.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preemption_model_is_read_where_debugfs_shows_it_and_else_assumed() {
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.12";
        assert!(!preempts(Some("none (voluntary) full"), dynamic));
        assert!(preempts(Some("none voluntary full (lazy)\n"), dynamic));
        assert!(preempts(None, dynamic));
        assert!(!preempts(None, "#1 SMP Debian 5.10"));
    }
}
