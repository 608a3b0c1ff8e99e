//! The BPF programs that are loaded on this machine.

use std::{collections::BTreeSet, fs, io};

use super::check_long;

/// `BPF_PROG_GET_NEXT_ID` of `enum bpf_cmd`.
const PROG_GET_NEXT_ID: libc::c_int = 11;

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

/// Ids of the programs that a process holds, by a descriptor of the program or of its link.
///
/// # Errors
/// When /proc/PID/fdinfo can't be read.
pub fn programs_of(pid: u32) -> io::Result<BTreeSet<u32>> {
    Ok(fields_of(pid, "prog_id:")?
        .into_iter()
        .filter_map(|id| u32::try_from(id).ok())
        .collect())
}

/// How often the kernel skipped programs that a process holds; 0 where it does not count it.
///
/// # Errors
/// When /proc/PID/fdinfo can't be read.
pub fn misses_of(pid: u32) -> io::Result<u64> {
    Ok(fields_of(pid, "recursion_misses:")?.into_iter().sum())
}

/// A number from each of a process's descriptors that has it.
fn fields_of(pid: u32, name: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        numbers.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix(name))
                .filter_map(|number| number.trim().parse::<u64>().ok()),
        );
    }
    Ok(numbers)
}
