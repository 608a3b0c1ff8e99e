//! The BPF programs that are loaded on this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    thread,
    time::{Duration, Instant},
};

use super::check_long;

/// Commands of `enum bpf_cmd`.
const PROG_GET_NEXT_ID: libc::c_int = 11;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;

/// The part of `union bpf_attr` that the GET_NEXT_ID commands use.
#[repr(C)]
struct NextId {
    start: u32,
    next: u32,
    flags: u32,
}

/// Ids of all loaded programs.
///
/// # Errors
/// errno of bpf(): EPERM without CAP_SYS_ADMIN.
pub fn program_ids() -> io::Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    let mut attribute = NextId {
        start: 0,
        next: 0,
        flags: 0,
    };
    loop {
        // SAFETY: the kernel reads and writes the attribute, whose length is given.
        let found = check_long(unsafe {
            libc::syscall(
                libc::SYS_bpf,
                PROG_GET_NEXT_ID,
                &raw mut attribute,
                size_of::<NextId>(),
            )
        });
        match found {
            Ok(_) => {
                ids.insert(attribute.next);
                attribute.start = attribute.next;
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            Err(error) => return Err(error),
        }
    }
}

/// Waits until these programs are removed: they are freed a moment after their last user.
///
/// # Errors
/// If some are left after ten seconds.
pub fn await_gone(programs: &BTreeSet<u32>) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let loaded = program_ids()?;
        let left: Vec<&u32> = programs.intersection(&loaded).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(io::Error::other(format!("programs {left:?} are left")));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Ids of the programs that a process holds, through a descriptor of the program or of its link.
///
/// # Errors
/// If /proc/PID/fdinfo can't be read.
pub fn programs_of(pid: u32) -> io::Result<BTreeSet<u32>> {
    Ok(fields_of(pid, "prog_id:")?
        .into_iter()
        .filter_map(|id| u32::try_from(id).ok())
        .collect())
}

/// How often the kernel has skipped programs that a process holds; 0 if the kernel does not count it.
///
/// # Errors
/// If /proc/PID/fdinfo can't be read.
pub fn misses_of(pid: u32) -> io::Result<u64> {
    Ok(fields_of(pid, "recursion_misses:")?.into_iter().sum())
}

/// A number from each of a process's descriptors that has this field.
fn fields_of(pid: u32, name: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // The descriptor may have been closed.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        numbers.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix(name))
                .filter_map(|number| number.trim().parse::<u64>().ok()),
        );
    }
    Ok(numbers)
}

/// `bpf()` for commands that return a descriptor.
///
/// # Safety
/// The attribute must be of `length` bytes, and valid for the command.
pub unsafe fn bpf<T>(
    command: libc::c_int,
    attribute: *mut T,
    length: usize,
) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises.
    let fd = check_long(unsafe { libc::syscall(libc::SYS_bpf, command, attribute, length) })?;
    // SAFETY: created just now, no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// How often and how long a program ran, as counted with `kernel.bpf_stats_enabled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Runs {
    /// Its name, cut by the kernel to 15 bytes.
    pub name: String,
    /// Time in it, nanoseconds.
    pub time_ns: u64,
    /// Number of runs.
    pub count: u64,
}

/// Time and runs of the programs of a process so far, by the program's id.
///
/// # Errors
/// If /proc/PID/fdinfo can't be read, or bpf() fails.
pub fn runs_of(pid: u32) -> io::Result<BTreeMap<u32, Runs>> {
    programs_of(pid)?
        .into_iter()
        .map(|id| Ok((id, runs(id)?)))
        .collect()
}

fn runs(id: u32) -> io::Result<Runs> {
    /// The part of `struct bpf_prog_info` up to `run_cnt`.
    #[repr(C)]
    struct Info {
        before: [u64; 8],
        name: [u8; 16],
        between: [u64; 14],
        time_ns: u64,
        count: u64,
    }
    #[repr(C)]
    struct Get {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut by_id = NextId {
        start: id,
        next: 0,
        flags: 0,
    };
    // SAFETY: the attribute lives through the call.
    let program = unsafe { bpf(PROG_GET_FD_BY_ID, &raw mut by_id, size_of::<NextId>()) }?;
    let mut info = Info {
        before: [0; 8],
        name: [0; 16],
        between: [0; 14],
        time_ns: 0,
        count: 0,
    };
    let mut get = Get {
        fd: program.as_raw_fd() as u32,
        length: size_of::<Info>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes `length` bytes at most.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            OBJ_GET_INFO_BY_FD,
            &raw mut get,
            size_of::<Get>(),
        )
    })?;
    let end = info.name.iter().position(|byte| *byte == 0).unwrap_or(16);
    Ok(Runs {
        name: String::from_utf8_lossy(&info.name[..end]).into_owned(),
        time_ns: info.time_ns,
        count: info.count,
    })
}

/// Memory of the maps that a process holds, as the kernel charges it.
///
/// # Errors
/// If /proc/PID/fdinfo can't be read.
pub fn map_bytes_of(pid: u32) -> io::Result<u64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // The descriptor may have been closed.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let number = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(bytes)) = (number("map_id:"), number("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.into_values().sum())
}
