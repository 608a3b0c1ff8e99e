//! Network namespaces: which processes are in them, and how to reach their counters.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use twtrace_core::model::audit::Counters;
use twtrace_wire::NetnsKey;

use super::hierarchies::unescape;
use super::kernel_counters::{self, CountersError};
use super::pid_namespace;

/// Processes that are kept for each namespace: enough that one of them is still alive at the end.
const REMEMBERED: usize = 8;

/// Inode number of a process's network namespace.
pub fn of_process(pid: u32) -> Option<u32> {
    inode(Path::new(&format!("/proc/{pid}/ns/net")))
}

/// Inode number of the namespace that a file stands for.
pub fn inode(path: &Path) -> Option<u32> {
    u32::try_from(fs::metadata(path).ok()?.ino()).ok()
}

/// Every namespace that a process is in, with some of its processes.
pub fn inhabited() -> BTreeMap<u32, Vec<u32>> {
    let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return found;
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        if let Some(netns) = of_process(pid) {
            let pids = found.entry(netns).or_default();
            if pids.len() < REMEMBERED {
                pids.push(pid);
            }
        }
    }
    found
}

/// Some of the threads of these processes that are in a namespace: setns() and unshare() move a single thread, and
/// /proc/PID/ns/net is that of the main thread. Their ids can be used like those of processes: /proc has a directory
/// for each thread.
pub fn threads_in(netns: u32, pids: &[u32]) -> Vec<u32> {
    /// Threads that are checked for each process.
    const MAX_THREADS: usize = 4_096;
    let tasks = pids
        .iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let tids = tasks.flat_map(|tasks| {
        let entries = tasks.flatten().take(MAX_THREADS);
        entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
    });
    tids.filter(|tid| of_process(*tid) == Some(netns))
        .take(REMEMBERED)
        .collect()
}

/// Every namespace that a mount keeps alive (`ip netns add`, Docker), with its path.
pub fn mounted() -> Vec<(u32, PathBuf)> {
    fs::read_to_string("/proc/self/mountinfo")
        .map(|text| parse_mounted(&text))
        .unwrap_or_default()
}

fn parse_mounted(mountinfo: &str) -> Vec<(u32, PathBuf)> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let root = fields.nth(3)?;
            let mount_point = fields.next()?;
            let inode = root.strip_prefix("net:[")?.strip_suffix(']')?;
            Some((inode.parse().ok()?, PathBuf::from(unescape(mount_point))))
        })
        .collect()
}

/// Whether a namespace exists, as far as this process can know: yes if it may not look into all processes.
pub fn may_exist(netns: u32) -> bool {
    if !pid_namespace::shows_all() || mounted().iter().any(|(inode, _)| *inode == netns) {
        return true;
    }
    let mut pids = numbers_in("/proc");
    // The first process is in the namespace of the kernel's threads, and may be closed to a container's root.
    pids.retain(|pid| *pid != 1);
    let main_thread_may = |pid: &u32| match fs::metadata(format!("/proc/{pid}/ns/net")) {
        Ok(metadata) => metadata.ino() == u64::from(netns),
        // The process of another user; one that has exited is in none.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    pids.iter().any(main_thread_may)
        || pids.iter().any(|pid| {
            let tids = numbers_in(&format!("/proc/{pid}/task"));
            tids.len() > 1 && tids.iter().any(|tid| of_process(*tid) == Some(netns))
        })
        || pids.iter().any(|pid| holds(*pid, netns))
}

/// Whether a process has a file open that stands for the namespace.
fn holds(pid: u32, netns: u32) -> bool {
    let link = PathBuf::from(format!("net:[{netns}]"));
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
    descriptors
        .into_iter()
        .flatten()
        .flatten()
        .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|leads_to| leads_to == link))
}

/// The entries of a directory of /proc that are numbers.
fn numbers_in(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Finds which namespace a file stands for; `None` if the kernel does not report it.
pub type Identify<'a> = &'a dyn Fn(&File) -> Option<NetnsKey>;

/// The namespace that a file stands for; without a mark if only its number is known.
fn key_of(file: &File, identify: Identify<'_>) -> Option<NetnsKey> {
    let netns = u32::try_from(file.metadata().ok()?.ino()).ok()?;
    let number_alone = NetnsKey { netns, mark: 0 };
    Some(identify(file).unwrap_or(number_alone))
}

/// The namespace of a mount.
pub fn key_of_mount(path: &Path, identify: Identify<'_>) -> Option<NetnsKey> {
    key_of(&File::open(path).ok()?, identify)
}

/// The namespace of a process.
pub fn key_of_process(pid: u32, identify: Identify<'_>) -> Option<NetnsKey> {
    key_of(&own_file(pid)?, identify)
}

fn own_file(pid: u32) -> Option<File> {
    File::open(format!("/proc/{pid}/ns/net")).ok()
}

/// Reads a namespace's counters through a process in it; `None` if the process is not, or no longer, in it.
pub fn counters_by_process(netns: NetnsKey, pid: u32, identify: Identify<'_>) -> Option<Counters> {
    // While this file is open the namespace exists, and no other one gets its number.
    let file = own_file(pid)?;
    if key_of(&file, identify)? != netns {
        return None;
    }
    let counters = kernel_counters::read(Path::new(&format!("/proc/{pid}/net"))).ok()?;
    // Checked again: the pid may have been given to another process in between.
    let is_still_it = of_process(pid) == Some(netns.netns);
    drop(file);
    is_still_it.then_some(counters)
}

/// Why a mounted namespace can't be read.
#[derive(Debug, thiserror::Error)]
pub enum MountedError {
    /// It can't be entered.
    #[error("entering {0}")]
    Enter(String, #[source] io::Error),
    /// Its counters can't be read.
    #[error(transparent)]
    Counters(#[from] CountersError),
    /// No thread could be started to do it.
    #[error("starting a thread")]
    Thread,
}

/// Reads the counters of a mounted namespace by entering it, in a thread of its own. Needs CAP_SYS_ADMIN.
///
/// # Errors
/// If the namespace can't be entered or read.
pub fn counters_by_mount(path: &Path) -> Result<Counters, MountedError> {
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || {
                let enter = |error| MountedError::Enter(path.display().to_string(), error);
                let file = File::open(path).map_err(enter)?;
                // SAFETY: setns() only takes a descriptor, which `file` keeps open. It affects this thread alone,
                // which ends with this function.
                if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                    return Err(enter(io::Error::last_os_error()));
                }
                Ok(kernel_counters::read(Path::new("/proc/thread-self/net"))?)
            })
            .map_err(|_| MountedError::Thread)?;
        reader.join().map_err(|_| MountedError::Thread)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_a_namespace_with_counters() {
        let me = std::process::id();
        let netns = of_process(me).unwrap();
        let identify = |_: &File| Some(NetnsKey { netns, mark: 5 });
        let key = |netns, mark| NetnsKey { netns, mark };
        assert!(counters_by_process(key(netns, 5), me, &identify).is_some());
        assert_eq!(counters_by_process(key(netns + 1, 5), me, &identify), None);
        // Another namespace that had this number.
        assert_eq!(counters_by_process(key(netns, 6), me, &identify), None);
        assert!(inhabited().contains_key(&netns));
    }

    #[test]
    fn threads_are_found_by_the_namespace_they_are_in() {
        let me = std::process::id();
        let netns = of_process(me).unwrap();
        assert!(!threads_in(netns, &[me]).is_empty());
        assert!(threads_in(netns + 1, &[me]).is_empty());
        // None of its own threads has the id of another process.
        assert!(threads_in(netns, &[u32::MAX]).is_empty());
        let identify = |_: &File| Some(NetnsKey { netns, mark: 5 });
        let counters = |tid| counters_by_process(NetnsKey { netns, mark: 5 }, tid, &identify);
        let thread = std::thread::spawn(|| {
            // SAFETY: gettid() has no preconditions.
            unsafe { libc::gettid() }.cast_unsigned()
        });
        assert_eq!(counters(thread.join().unwrap()), None);
        // SAFETY: as above.
        assert!(counters(unsafe { libc::gettid() }.cast_unsigned()).is_some());
    }

    #[test]
    fn only_a_namespace_that_somebody_is_in_may_exist() {
        let own = of_process(std::process::id()).unwrap();
        assert!(may_exist(own));
        // Only root may look into all processes.
        // SAFETY: geteuid() can't fail.
        if unsafe { libc::geteuid() } == 0 && pid_namespace::shows_all() {
            assert!(!may_exist(1));
        }
    }

    #[test]
    fn an_open_file_holds_its_namespace() {
        let (me, own) = (std::process::id(), of_process(std::process::id()).unwrap());
        let file = own_file(me).unwrap();
        assert!(holds(me, own));
        drop(file);
        assert!(!holds(me, 1));
    }

    #[test]
    fn mounts_of_namespaces_are_told_from_others() {
        let mountinfo = "\
22 1 0:20 / /proc rw - proc proc rw
90 25 0:4 net:[4026532200] /run/netns/blue rw shared:40 - nsfs nsfs rw
91 25 0:4 mnt:[4026532201] /run/snapd/ns/x.mnt rw - nsfs nsfs rw
";
        assert_eq!(
            parse_mounted(mountinfo),
            [(4_026_532_200, PathBuf::from("/run/netns/blue"))]
        );
    }
}
