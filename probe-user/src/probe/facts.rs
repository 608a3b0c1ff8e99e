//! What has to be found out about this kernel before the programs load.

use std::fs;

use twtrace_wire::{ABSENT, Offsets};

use super::{ProbeError, btf::KernelBtf};

/// Where a kernel shows its own BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Members that kernels may do without: what needs them says "not known".
const OPTIONAL: &[&str] = &[
    "icsk_ulp_ops",
    "icsk_ulp_data",
    "subflow_conn",
    "ulp_name",
    "tcp_linger2",
    "tcp_bytes_retrans",
];

/// All offsets the programs need.
///
/// # Errors
/// When a member that twtrace can't do without is missing.
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

/// Length of the kernel's tick: the resolution of its coarse clock.
pub fn tick_ns() -> u64 {
    let mut resolution = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local of the right type.
    unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) };
    resolution.tv_nsec.unsigned_abs()
}

/// Address of a kernel symbol, or `None` where kallsyms does not have it or hides it.
pub fn symbol_address(symbol: &str) -> Option<u64> {
    let symbols = fs::read("/proc/kallsyms").ok()?;
    let needle = format!(" {symbol}");
    symbols
        .split(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(needle.as_bytes()))
        .find_map(|line| {
            let address = line.split(|byte| *byte == b' ').next()?;
            u64::from_str_radix(std::str::from_utf8(address).ok()?, 16).ok()
        })
        .filter(|address| *address != 0)
}

/// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK.
pub fn raise_memlock_limit() {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // Refused without CAP_SYS_RESOURCE; newer kernels don't need it, and older ones will say so at the
    // first map.
    // SAFETY: the pointer is to a local of the right type.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) };
}
