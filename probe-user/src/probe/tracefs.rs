//! The kernel's tracing file system, which the classic tracepoints need.

use std::{fs, io, path::Path};

const TRACEFS: &str = "/sys/kernel/tracing";
/// Older path, where debugfs mounts it automatically.
const TRACEFS_IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";

/// Mounts tracefs if it is not mounted.
///
/// # Errors
/// If it can't be mounted.
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

/// Whether this kernel is built with kprobes, as far as that is visible without attaching one.
pub fn has_kprobes() -> bool {
    /// Its type number for perf_event_open().
    const PERF_KPROBE: &str = "/sys/bus/event_source/devices/kprobe/type";
    let in_tracefs = [TRACEFS, TRACEFS_IN_DEBUGFS]
        .iter()
        .any(|place| Path::new(place).join("kprobe_events").exists());
    Path::new(PERF_KPROBE).exists() || in_tracefs
}

/// Offset of a field in a classic tracepoint's record, by its `format` file.
///
/// # Errors
/// If the tracepoint does not exist.
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
}
