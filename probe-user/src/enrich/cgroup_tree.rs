//! From a cgroup's id to its path, for processes that are gone before /proc could be asked.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Directories that one walk looks at.
const MAX_DIRECTORIES: usize = 20_000;
/// An id that is not known starts a new walk, but no more often than this.
const WALK_INTERVAL: Duration = Duration::from_secs(1);

/// The cgroup v2 hierarchy, walked when an id turns up that is not known yet. The id of a cgroup is the
/// inode number of its directory.
#[derive(Debug, Default)]
pub struct CgroupTree {
    mount: Option<PathBuf>,
    paths: HashMap<u64, String>,
    walked: Option<Instant>,
}

impl CgroupTree {
    /// Finds where the hierarchy is mounted. Where it is not, no id has a path.
    pub fn find() -> Self {
        let mount = fs::read_to_string("/proc/self/mountinfo")
            .ok()
            .and_then(|text| cgroup2_mount(&text));
        Self {
            mount,
            ..Self::default()
        }
    }

    /// The path of a cgroup, from the root of the hierarchy. 0 stands for no cgroup.
    pub fn path_of(&mut self, cgroup_id: u64) -> Option<String> {
        if cgroup_id == 0 {
            return None;
        }
        if let Some(path) = self.paths.get(&cgroup_id) {
            return Some(path.clone());
        }
        let is_due = self
            .walked
            .is_none_or(|walked| walked.elapsed() >= WALK_INTERVAL);
        if is_due && let Some(mount) = &self.mount {
            self.paths = walk(mount);
            self.walked = Some(Instant::now());
        }
        self.paths.get(&cgroup_id).cloned()
    }
}

fn cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let fstype = right.split(' ').next()?;
        let mount_point = left.split(' ').nth(4)?;
        (fstype == "cgroup2").then(|| PathBuf::from(mount_point))
    })
}

fn walk(mount: &Path) -> HashMap<u64, String> {
    let mut paths = HashMap::new();
    if let Ok(metadata) = fs::metadata(mount) {
        paths.insert(metadata.ino(), "/".to_owned());
    }
    let mut open = vec![(mount.to_owned(), String::new())];
    while let Some((directory, path)) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if paths.len() >= MAX_DIRECTORIES {
                return paths;
            }
            let child = format!("{path}/{}", entry.file_name().to_string_lossy());
            paths.insert(entry.ino(), child.clone());
            open.push((entry.path(), child));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_among_others() {
        let mountinfo = "\
22 1 0:20 / /proc rw - proc proc rw
30 22 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";
        assert_eq!(
            cgroup2_mount(mountinfo),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(cgroup2_mount("22 1 0:20 / /proc rw - proc proc rw"), None);
    }

    #[test]
    fn directories_are_found_by_inode() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a.slice/b.service");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("cgroup.procs"), "").unwrap();
        let mut tree = CgroupTree {
            mount: Some(root.path().to_owned()),
            ..CgroupTree::default()
        };
        let inode = fs::metadata(&inner).unwrap().ino();
        assert_eq!(tree.path_of(inode).as_deref(), Some("/a.slice/b.service"));
        assert_eq!(tree.path_of(0), None);
        // The next walk is not due yet, so an unknown id stays unknown without one.
        assert_eq!(tree.path_of(u64::MAX), None);
    }
}
