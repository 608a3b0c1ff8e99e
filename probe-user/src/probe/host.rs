//! What has to be found out about this host before the programs load.

use std::{fs, io, path::Path};

use twtrace_wire::{ABSENT, Offsets};

use super::{ProbeError, btf::KernelBtf};

/// Where a kernel shows its own BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

const TRACEFS: &str = "/sys/kernel/tracing";
/// Older place, where debugfs mounts it by itself.
const TRACEFS_IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";

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

/// CLOCK_MONOTONIC now.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
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

/// Makes sure that tracefs is there, and mounts it if not.
///
/// # Errors
/// When it can't be mounted.
pub fn ensure_tracefs() -> io::Result<()> {
    if [TRACEFS, TRACEFS_IN_DEBUGFS]
        .iter()
        .any(|place| Path::new(place).join("events").is_dir())
    {
        return Ok(());
    }
    let fails = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("tracefs is not mounted ({error}): mount -t tracefs tracefs {TRACEFS}"),
        )
    };
    // SAFETY: all pointers are to C strings that live through the call.
    let result = unsafe {
        libc::mount(
            c"tracefs".as_ptr(),
            c"/sys/kernel/tracing".as_ptr(),
            c"tracefs".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME,
            std::ptr::null(),
        )
    };
    if result != 0 {
        return Err(fails(io::Error::last_os_error()));
    }
    log::info!("tracefs was not mounted: mounted it at {TRACEFS}");
    Ok(())
}

/// Offset of a field in a classic tracepoint's record, by its `format` file.
///
/// # Errors
/// When there is no such tracepoint.
pub fn tracepoint_field(category: &str, name: &str, field: &str) -> io::Result<Option<u32>> {
    ensure_tracefs()?;
    let relative = format!("events/{category}/{name}/format");
    let format = fs::read_to_string(Path::new(TRACEFS).join(&relative))
        .or_else(|_| fs::read_to_string(Path::new(TRACEFS_IN_DEBUGFS).join(&relative)))?;
    Ok(field_in_format(&format, field))
}

/// A line is `field:const void * skaddr; offset:8; size:8; signed:0;`.
fn field_in_format(format: &str, field: &str) -> Option<u32> {
    format.lines().find_map(|line| {
        let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
        let name = declaration.split_whitespace().next_back()?;
        let name = name.split('[').next()?;
        if name != field {
            return None;
        }
        let (offset, _) = rest.trim().strip_prefix("offset:")?.split_once(';')?;
        offset.parse().ok()
    })
}

const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Checks that programs may be loaded at all, so that the error is ours and not EPERM.
///
/// # Errors
/// With the names of what is missing.
pub fn check_privileges() -> Result<(), ProbeError> {
    let path = "/proc/self/status";
    let status = fs::read_to_string(path).map_err(|error| ProbeError::Proc {
        path: path.to_owned(),
        error,
    })?;
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let missing = missing_capabilities(held);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ProbeError::Privileges { missing })
    }
}

fn missing_capabilities(held: u64) -> Vec<&'static str> {
    let has = |capability: u32| held >> capability & 1 != 0;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [
        (CAP_BPF, "CAP_BPF"),
        (CAP_PERFMON, "CAP_PERFMON"),
        (CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
    ]
    .into_iter()
    .filter(|(capability, _)| !has(*capability))
    .map(|(_, name)| name)
    .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_a_format_file() {
        let format = "name: inet_sock_set_state\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;\n";
        assert_eq!(field_in_format(format, "skaddr"), Some(8));
        assert_eq!(field_in_format(format, "saddr"), Some(32));
        assert_eq!(field_in_format(format, "daddr"), None);
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(
            missing_capabilities(0),
            ["CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH"]
        );
        assert_eq!(
            missing_capabilities(1 << CAP_BPF | 1 << CAP_DAC_READ_SEARCH),
            ["CAP_PERFMON"]
        );
        assert!(missing_capabilities(1 << CAP_SYS_ADMIN).is_empty());
    }
}
