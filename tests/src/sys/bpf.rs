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
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        ids.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix("prog_id:"))
                .filter_map(|id| id.trim().parse::<u32>().ok()),
        );
    }
    Ok(ids)
}
