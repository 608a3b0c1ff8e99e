//! Finds the processes that hold a socket, by their descriptors in /proc.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use twtrace_core::event::comm::Comm;

use crate::enrich::procfs;

/// A process that has a socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketHolder {
    /// Its id in the pid namespace of /proc.
    pub pid: u32,
    /// When it started, in clock ticks since boot: [`procfs::tick_ns`].
    pub start_ticks: u64,
    pub comm: Comm,
}

/// Processes by the inode number of the socket that they hold.
#[derive(Debug, Default)]
pub struct Owners {
    by_inode: HashMap<u32, Vec<SocketHolder>>,
    /// Processes whose descriptors may not be read.
    pub unreadable: u64,
}

impl Owners {
    /// Reads the descriptors of all processes once. Processes that start or end in between may be missed.
    pub fn find(inodes: &HashSet<u32>) -> Self {
        let mut owners = Self::default();
        if inodes.is_empty() {
            return owners;
        }
        let Ok(entries) = fs::read_dir("/proc") else {
            return owners;
        };
        let mut pids: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        // Sorted, so that the holders of one socket are in the order of their ids.
        pids.sort_unstable();
        for pid in pids {
            owners.add_process(pid, inodes);
        }
        owners
    }

    fn add_process(&mut self, pid: u32, inodes: &HashSet<u32>) {
        let Some(start_ticks) = procfs::start_ticks(pid) else {
            return;
        };
        let directory = format!("/proc/{pid}/fd");
        let held = match fs::read_dir(&directory) {
            Ok(entries) => entries
                .flatten()
                .filter_map(|entry| socket_inode(&entry.path()))
                .filter(|inode| inodes.contains(inode))
                .collect::<HashSet<u32>>(),
            Err(error) => {
                let is_hidden = error.kind() == std::io::ErrorKind::PermissionDenied;
                self.unreadable += u64::from(is_hidden);
                return;
            }
        };
        if held.is_empty() {
            return;
        }
        let mut comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.last() == Some(&b'\n') {
            comm.pop();
        }
        // Checked last: the id may have been given to another process in between.
        if procfs::start_ticks(pid) != Some(start_ticks) {
            return;
        }
        let holder = SocketHolder {
            pid,
            start_ticks,
            comm: Comm::from_bytes(&comm),
        };
        for inode in held {
            self.by_inode.entry(inode).or_default().push(holder);
        }
    }

    #[cfg(test)]
    pub fn of_holders(inode: u32, holders: Vec<SocketHolder>) -> Self {
        Self {
            by_inode: HashMap::from([(inode, holders)]),
            unreadable: 0,
        }
    }

    /// The processes that hold a socket, by id.
    pub fn of(&self, inode: u32) -> &[SocketHolder] {
        self.by_inode.get(&inode).map_or(&[], Vec::as_slice)
    }
}

/// The number in `socket:[number]`.
fn socket_inode(link: &Path) -> Option<u32> {
    let target = fs::read_link(link).ok()?;
    let number = target.to_str()?.strip_prefix("socket:[")?;
    number.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    fn inode_of(listener: &TcpListener) -> u32 {
        let link = format!("/proc/self/fd/{}", listener.as_raw_fd());
        socket_inode(Path::new(&link)).unwrap()
    }

    #[test]
    fn a_socket_with_two_descriptors_has_one_holder_and_others_are_not_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _twin = listener.try_clone().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let owners = Owners::find(&HashSet::from([inode_of(&listener)]));
        let me = std::process::id();
        let held_by_me: Vec<_> = owners
            .of(inode_of(&listener))
            .iter()
            .filter(|holder| holder.pid == me)
            .collect();
        let [holder] = held_by_me[..] else {
            panic!("not one entry: {held_by_me:?}");
        };
        assert_eq!(Some(holder.start_ticks), procfs::start_ticks(me));
        assert!(!holder.comm.is_empty());
        assert!(owners.of(inode_of(&other)).is_empty());
    }
}
