//! Whether /proc shows all processes, under the ids that events have.
//!
//! The kernel side names processes by their ids in the initial pid namespace. If twtrace runs in another one
//! (`unshare --pid`, a container without the host's), /proc usually shows only the processes of that namespace, under
//! other ids. The kernel side maps these ids (the program `process_now`); other processes can't be looked up.

use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, OnceLock, PoisonError};

use twtrace_wire::ProcessKey;

/// What is lost, and what to do.
pub const LOST: &str = "in this pid namespace /proc shows only the processes that are in it: of others the executable is not \
     known, nor which connections they have open, and network namespaces that only they are in are neither searched nor \
     audited; run twtrace in the host's pid namespace (--pid=host, hostPID: true)";

/// Whether /proc is that of the initial pid namespace.
pub fn shows_all() -> bool {
    static SHOWS_ALL: OnceLock<bool> = OnceLock::new();
    *SHOWS_ALL.get_or_init(|| {
        let stat = fs::read("/proc/2/stat").unwrap_or_default();
        is_kernel_thread(&stat) == Some(true)
    })
}

/// Only the initial namespace has kernel threads, and kthreadd has the id 2. It is recognised by its flags, which
/// nobody can forge.
fn is_kernel_thread(stat: &[u8]) -> Option<bool> {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let after_name = memchr::memrchr(b')', stat)? + 1;
    let fields = str::from_utf8(stat.get(after_name..)?).ok()?;
    // Field 3, the state, is the first one after the name.
    let flags: u32 = fields.split_ascii_whitespace().nth(9 - 3)?.parse().ok()?;
    Some(flags & PF_KTHREAD != 0)
}

/// Ids of processes in /proc, if they differ from those in events.
static SHOWN: Mutex<Option<HashMap<ProcessKey, u32>>> = Mutex::new(None);

/// The id under which /proc shows a process; `None` if /proc does not show it, or this is not known.
pub fn shown_pid(key: ProcessKey) -> Option<u32> {
    if shows_all() {
        return Some(key.tgid);
    }
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    shown.as_ref()?.get(&key).copied()
}

/// Learns which processes /proc shows now, by asking the kernel side about each. Does nothing if /proc shows all.
pub fn learn(mut key_of: impl FnMut(u32) -> Option<ProcessKey>) {
    if shows_all() {
        return;
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return;
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found = pids.filter_map(|pid| Some((key_of(pid)?, pid))).collect();
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_threads_are_told_by_their_flags() {
        let of = |stat: &str| is_kernel_thread(stat.as_bytes());
        assert_eq!(of("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0"), Some(true));
        assert_eq!(of("2 (kthreadd) S 0 0 0 0 -1 4194560 0 0"), Some(false));
        assert_eq!(of("2 (a) S 1) S 0 0 0 0 -1 2129984 0"), Some(true));
        assert_eq!(of(""), None);
    }
}
