//! Watches cgroups as they are created: that of a short-lived container is removed before its id is asked for.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// Directories that are watched at a time, at most: the kernel keeps about a kilobyte for each.
const MAX_WATCHED: usize = 4_096;
/// One part in this many of the watches that a user may have is used: others of the same user need some, too.
const SHARE: usize = 4;
/// Length of `struct inotify_event` without its name.
const EVENT_HEAD: usize = 16;

/// Watches a hierarchy's directories.
#[derive(Debug)]
pub struct CgroupWatch {
    inotify: File,
    top: PathBuf,
    /// By watch descriptor.
    watched: HashMap<i32, PathBuf>,
    max_watched: usize,
    buffer: Vec<u8>,
}

impl CgroupWatch {
    /// Watches the directories below `top`, and passes all that exist to `found`, with their inode numbers.
    pub fn begin(top: &Path, found: &mut dyn FnMut(&Path, u64)) -> io::Result<Self> {
        // SAFETY: integers only.
        let descriptor = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut watch = Self {
            // SAFETY: the descriptor was just created and has no other owner.
            inotify: unsafe { File::from_raw_fd(descriptor) },
            top: top.to_owned(),
            watched: HashMap::new(),
            max_watched: max_watched(),
            buffer: vec![0; 16 << 10],
        };
        watch.add(top)?;
        watch.list(top.to_owned(), found);
        Ok(watch)
    }

    /// Passes directories that were created since the last call, if they still exist.
    pub fn keep_up(&mut self, found: &mut dyn FnMut(&Path, u64)) {
        while let Ok(length @ 1..) = self.inotify.read(&mut self.buffer) {
            let events = parse(self.buffer.get(..length).unwrap_or_default());
            for event in events {
                self.take(event, found);
            }
        }
    }

    fn take(&mut self, event: Event, found: &mut dyn FnMut(&Path, u64)) {
        if event.mask & libc::IN_Q_OVERFLOW != 0 {
            self.list(self.top.clone(), found);
        } else if event.mask & libc::IN_IGNORED != 0 {
            // The directory was removed.
            self.watched.remove(&event.watch);
        } else if event.mask & libc::IN_ISDIR != 0
            && let Some(parent) = self.watched.get(&event.watch)
        {
            let directory = parent.join(OsStr::from_bytes(&event.name));
            let Ok(metadata) = fs::symlink_metadata(&directory) else {
                return;
            };
            found(&directory, std::os::unix::fs::MetadataExt::ino(&metadata));
            if self.add(&directory).is_ok() {
                // Created before its parent was watched.
                self.list(directory, found);
            }
        }
    }

    /// Passes and watches all that is in a directory.
    fn list(&mut self, top: PathBuf, found: &mut dyn FnMut(&Path, u64)) {
        let mut open = vec![top];
        while let Some(directory) = open.pop() {
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let child = entry.path();
                found(&child, entry.ino());
                if self.add(&child).is_ok() {
                    open.push(child);
                }
            }
        }
    }

    fn add(&mut self, directory: &Path) -> io::Result<()> {
        if self.watched.len() >= self.max_watched {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let path = CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: the descriptor is open, and the path is a C string that lives through the call.
        let watch = unsafe {
            libc::inotify_add_watch(
                self.inotify.as_raw_fd(),
                path.as_ptr(),
                libc::IN_CREATE | libc::IN_ONLYDIR,
            )
        };
        if watch < 0 {
            return Err(io::Error::last_os_error());
        }
        self.watched.insert(watch, directory.to_owned());
        Ok(())
    }
}

fn max_watched() -> usize {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok();
    let limit: Option<usize> = limit.and_then(|text| text.trim().parse().ok());
    limit.map_or(MAX_WATCHED, |limit| MAX_WATCHED.min(limit / SHARE))
}

/// `struct inotify_event`
#[derive(Debug, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    name: Vec<u8>,
}

fn parse(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((event, rest)) = parse_one(bytes) {
        events.push(event);
        bytes = rest;
    }
    events
}

fn parse_one(bytes: &[u8]) -> Option<(Event, &[u8])> {
    let word = |at: usize| {
        bytes
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_ne_bytes)
    };
    let end = EVENT_HEAD.checked_add(word(12)? as usize)?;
    let name = bytes.get(EVENT_HEAD..end)?;
    let length = name.iter().position(|byte| *byte == 0);
    let event = Event {
        watch: word(0)?.cast_signed(),
        mask: word(4)?,
        name: name[..length.unwrap_or(name.len())].to_vec(),
    };
    Some((event, &bytes[end..]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn seen(watch: impl FnOnce(&mut dyn FnMut(&Path, u64))) -> Vec<(PathBuf, u64)> {
        let mut all = Vec::new();
        watch(&mut |path, inode| all.push((path.to_owned(), inode)));
        all.sort();
        all
    }

    fn made(path: PathBuf) -> (PathBuf, u64) {
        fs::create_dir_all(&path).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        (path, inode)
    }

    #[test]
    fn directories_are_seen_as_they_are_made_however_deep() {
        let top = tempfile::tempdir().unwrap();
        let outer = made(top.path().join("a.slice"));
        let inner = made(top.path().join("a.slice/b.service"));
        let mut watch = None;
        let before = seen(|found| watch = Some(CgroupWatch::begin(top.path(), found).unwrap()));
        let mut watch = watch.unwrap();
        assert_eq!(before, [outer, inner]);
        fs::write(top.path().join("cgroup.procs"), "").unwrap();
        let docker = made(top.path().join("docker"));
        let container = made(top.path().join("docker/1"));
        let nested = made(top.path().join("a.slice/b.service/c/d"));
        let between = made(top.path().join("a.slice/b.service/c"));
        let mut expected = vec![docker, container, nested, between];
        expected.sort();
        assert_eq!(seen(|found| watch.keep_up(found)), expected);
        assert_eq!(seen(|found| watch.keep_up(found)), []);
        // Also below directories that were created in between.
        let later = made(top.path().join("docker/1/e"));
        assert_eq!(seen(|found| watch.keep_up(found)), [later]);
        let watched = watch.watched.len();
        fs::remove_dir_all(top.path().join("docker")).unwrap();
        assert_eq!(seen(|found| watch.keep_up(found)), []);
        assert_eq!(watch.watched.len(), watched - 3);
    }

    #[test]
    fn no_more_are_watched_than_there_is_room_for() {
        let top = tempfile::tempdir().unwrap();
        for number in 0..MAX_WATCHED + 10 {
            fs::create_dir(top.path().join(number.to_string())).unwrap();
        }
        let mut count = 0;
        let watch = CgroupWatch::begin(top.path(), &mut |_, _| count += 1).unwrap();
        assert_eq!(count, MAX_WATCHED + 10);
        assert!(watch.watched.len() <= MAX_WATCHED);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
