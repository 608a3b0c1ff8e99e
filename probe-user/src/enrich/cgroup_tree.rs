//! Resolves a cgroup's id to its path, for processes that end before /proc can be read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use twtrace_wire::CGROUP_V1;

use super::cgroup_watch::CgroupWatch;
use super::hierarchies::{Hierarchies, Mount};
use super::remembered::Remembered;

/// Ids that are kept after their directories are removed: between this many and twice as many.
const REMEMBERED: usize = 8_192;
/// Directories that one walk visits at most.
const MAX_DIRECTORIES: usize = 20_000;
/// Walks take at most one part in this many of the time.
const WALKS_SHARE: u32 = 20;
/// A walk for an id that is not known yet is not delayed for longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// `FILEID_KERNFS` of linux/exportfs.h: the handle is the id.
const HANDLE_OF_KERNFS: i32 = 0xfe;

/// The result for an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The cgroup's path, from the root of its hierarchy.
    Path(String),
    /// The path is not known, and will not be.
    Unknown,
    /// The path may be known at a later call.
    NotYet,
}

/// The cgroup hierarchies in which ids are resolved. The id of a cgroup is the inode number of its directory.
#[derive(Debug)]
pub struct CgroupTree {
    unified: Option<Hierarchy>,
    v1: Option<Hierarchy>,
    /// Includes removed cgroups. Ids are not reused.
    known: Remembered<u64, String>,
}

impl CgroupTree {
    pub fn of(hierarchies: &Hierarchies) -> Self {
        let mut known = Remembered::new(REMEMBERED);
        let mut watched = |mount: &Mount, tag| {
            let mut hierarchy = Hierarchy::new(mount.clone());
            hierarchy.watch = CgroupWatch::begin(&mount.point, &mut |directory, id| {
                if let Some(path) = mount.path_of(directory) {
                    known.insert(id | tag, path);
                }
            })
            .ok();
            hierarchy
        };
        let unified = hierarchies.unified.as_ref();
        let v1 = hierarchies.v1.as_ref();
        Self {
            unified: unified.map(|mount| watched(mount, 0)),
            v1: v1.map(|(_, mount)| watched(mount, CGROUP_V1)),
            known,
        }
    }

    /// Learns of cgroups that were created since the last call.
    pub fn keep_up(&mut self) {
        let Self { unified, v1, known } = self;
        for (hierarchy, tag) in [(unified, 0), (v1, CGROUP_V1)] {
            let Some(Hierarchy { mount, watch, .. }) = hierarchy else {
                continue;
            };
            if let Some(watch) = watch {
                watch.keep_up(&mut |directory, id| {
                    if let Some(path) = mount.path_of(directory) {
                        known.insert(id | tag, path);
                    }
                });
            }
        }
    }

    /// The path of a cgroup. 0 stands for no cgroup.
    pub fn resolve(&mut self, cgroup_id: u64) -> Resolved {
        if let Some(path) = self.known.get(&cgroup_id) {
            return Resolved::Path(path.clone());
        }
        let hierarchy = match cgroup_id & CGROUP_V1 {
            0 => &mut self.unified,
            _ => &mut self.v1,
        };
        let resolved = match (hierarchy, cgroup_id & !CGROUP_V1) {
            (None, _) | (_, 0) => Resolved::Unknown,
            (Some(hierarchy), id) => hierarchy.resolve(id),
        };
        if let Resolved::Path(path) = &resolved {
            self.known.insert(cgroup_id, path.clone());
        }
        resolved
    }
}

#[derive(Debug)]
struct Hierarchy {
    mount: Mount,
    /// `None` if the kernel refuses it.
    watch: Option<CgroupWatch>,
    /// The mount, as long as directories can be opened by their ids, which takes CAP_DAC_READ_SEARCH.
    opens_by_id: Option<File>,
    /// What the last walk found.
    listed: HashMap<u64, String>,
    /// When that walk ended, and how long to wait before the next.
    walked: Option<(Instant, Duration)>,
}

impl Hierarchy {
    fn new(mount: Mount) -> Self {
        Self {
            opens_by_id: opened_by_id(&mount.point),
            mount,
            watch: None,
            listed: HashMap::new(),
            walked: None,
        }
    }

    fn resolve(&mut self, id: u64) -> Resolved {
        if let Some(directory) = &self.opens_by_id {
            match open_by_id(directory, id) {
                Ok(found) => return self.path_of(&found),
                Err(error) if error.raw_os_error() == Some(libc::ESTALE) => {
                    return Resolved::Unknown;
                }
                // No longer permitted: a walk has to find it.
                Err(_) => self.opens_by_id = None,
            }
        }
        if let Some(path) = self.listed.get(&id) {
            return Resolved::Path(path.clone());
        }
        if let Some((ended, pause)) = self.walked
            && ended.elapsed() < pause
        {
            return Resolved::NotYet;
        }
        let started = Instant::now();
        self.listed = walk(&self.mount);
        let pause = started.elapsed().saturating_mul(WALKS_SHARE);
        self.walked = Some((Instant::now(), pause.min(LONGEST_PAUSE)));
        match self.listed.get(&id) {
            Some(path) => Resolved::Path(path.clone()),
            None => Resolved::Unknown,
        }
    }

    fn path_of(&self, directory: &OwnedFd) -> Resolved {
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let path = fs::read_link(link).ok();
        match path.and_then(|path| self.mount.path_of(&without_mark(path))) {
            Some(path) => Resolved::Path(path),
            // It is outside of what is mounted.
            None => Resolved::Unknown,
        }
    }
}

/// The directory may have been removed since it was opened.
fn without_mark(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(bytes) => PathBuf::from(std::ffi::OsStr::from_bytes(bytes)),
        None => path,
    }
}

/// `struct file_handle` with the id as its handle.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: u64,
}

/// The directory, if it can be opened by its own id.
fn opened_by_id(point: &Path) -> Option<File> {
    let directory = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(point)
        .ok()?;
    let id = directory.metadata().ok()?.ino();
    open_by_id(&directory, id).ok().map(|_| directory)
}

/// Opens a directory of the same file system by its id. ESTALE if it is removed.
fn open_by_id(within: &File, id: u64) -> io::Result<OwnedFd> {
    let mut handle = Handle {
        bytes: 8,
        kind: HANDLE_OF_KERNFS,
        id,
    };
    // SAFETY: the descriptor is open, and the handle is as long as it states.
    let result = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            within.as_raw_fd(),
            &raw mut handle,
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    match i32::try_from(result) {
        // SAFETY: the descriptor was just created and has no other owner.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn walk(mount: &Mount) -> HashMap<u64, String> {
    let mut paths = HashMap::new();
    let path_of = |directory: &Path| mount.path_of(directory);
    if let Ok(metadata) = fs::metadata(&mount.point)
        && let Some(path) = path_of(&mount.point)
    {
        paths.insert(metadata.ino(), path);
    }
    let mut open = vec![mount.point.clone()];
    while let Some(directory) = open.pop() {
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
            let child = entry.path();
            if let Some(path) = path_of(&child) {
                paths.insert(entry.ino(), path);
            }
            open.push(child);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount_at(point: &Path) -> Mount {
        Mount {
            point: point.to_owned(),
            root: "/".to_owned(),
        }
    }

    fn path(text: &str) -> Resolved {
        Resolved::Path(text.to_owned())
    }

    /// Anything but cgroups has to be walked: its handles are of another type.
    fn tree_at(point: &Path) -> CgroupTree {
        CgroupTree::of(&Hierarchies {
            unified: Some(mount_at(point)),
            v1: None,
        })
    }

    #[test]
    fn directories_are_found_by_inode_and_remembered_when_they_are_gone() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a.slice/b.service");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("cgroup.procs"), "").unwrap();
        let mut tree = tree_at(root.path());
        let inode = fs::metadata(&inner).unwrap().ino();
        assert_eq!(tree.resolve(inode), path("/a.slice/b.service"));
        assert_eq!(tree.resolve(0), Resolved::Unknown);
        assert_eq!(tree.resolve(inode | CGROUP_V1), Resolved::Unknown);
        let hierarchy = tree.unified.as_mut().unwrap();
        assert!(hierarchy.opens_by_id.is_none());
        // The next walk is not due yet.
        hierarchy.walked = Some((Instant::now(), LONGEST_PAUSE));
        assert_eq!(tree.resolve(u64::MAX >> 1), Resolved::NotYet);
        fs::remove_dir_all(&inner).unwrap();
        tree.unified.as_mut().unwrap().walked = None;
        assert_eq!(tree.resolve(u64::MAX >> 1), Resolved::Unknown);
        assert!(tree.unified.as_ref().unwrap().listed.len() < 3);
        assert_eq!(tree.resolve(inode), path("/a.slice/b.service"));
    }

    #[test]
    fn walks_are_not_all_that_is_done() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..200 {
            fs::create_dir(root.path().join(number.to_string())).unwrap();
        }
        let mut tree = tree_at(root.path());
        tree.resolve(u64::MAX >> 1);
        let (_, pause) = tree.unified.unwrap().walked.unwrap();
        assert!(!pause.is_zero() && pause <= LONGEST_PAUSE);
    }

    #[test]
    fn what_was_there_for_a_moment_is_known() {
        let root = tempfile::tempdir().unwrap();
        let mut tree = tree_at(root.path());
        let inner = root.path().join("docker/1");
        fs::create_dir_all(&inner).unwrap();
        let inode = fs::metadata(&inner).unwrap().ino();
        tree.keep_up();
        fs::remove_dir_all(&inner).unwrap();
        assert_eq!(tree.resolve(inode), path("/docker/1"));
        assert!(tree.unified.unwrap().walked.is_none());
    }

    /// Needs root and a mounted hierarchy.
    #[test]
    fn cgroups_are_opened_by_id() {
        let hierarchies = Hierarchies::find();
        let Some(mount) = &hierarchies.unified else {
            return;
        };
        let directory = mount
            .point
            .join(format!("twtrace-test-{}", std::process::id()));
        if fs::create_dir(&directory).is_err() {
            return;
        }
        let id = fs::metadata(&directory).unwrap().ino();
        let mut tree = CgroupTree::of(&hierarchies);
        let resolved = tree.resolve(id);
        fs::remove_dir(&directory).unwrap();
        assert_eq!(
            Some(resolved),
            mount.path_of(&directory).map(Resolved::Path)
        );
        let by_id = tree.unified.as_ref().unwrap().opens_by_id.is_some();
        assert_eq!(by_id, tree.unified.as_ref().unwrap().walked.is_none());
        let mut anew = CgroupTree::of(&hierarchies);
        assert_eq!(anew.resolve(id), Resolved::Unknown, "it is gone");
    }
}
