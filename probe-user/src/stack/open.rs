//! Opens files of traced processes for the process that reads them. Their owners may have put anything in the place of
//! one: it is found with O_PATH, which opens nothing, and opened only if it is the regular file that it must be. Paths are
//! walked name by name, without openat2(), whose flags are in memory: the list of the tracer's system calls could not keep it
//! from opening something for writing.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};
use std::rc::{Rc, Weak};

use super::mapping::MemoryMapping;
use crate::place;

/// Maximum number of files that are open at a time, and of those for processes of one user.
const MAX_OPEN: usize = 192;
const MAX_OPEN_OF_USER: usize = 64;
/// Files whose numbers are remembered: the process that reads them keeps what it has read, by number.
const MAX_NUMBERS: usize = 8_192;
/// As many links as the kernel follows in one path (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

const BTRFS_SUPER_MAGIC: i64 = 0x9123_683e;
const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;

/// A file with its content: one that was written since is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self {
            device: about.dev(),
            inode: about.ino(),
            bytes: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    pub identity: Identity,
    /// The same for the same identity.
    pub number: u64,
    /// The user for whose process it was opened first.
    user: u32,
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Files that are open now.
#[derive(Debug, Default)]
pub struct OpenFiles {
    open: HashMap<Identity, Weak<OpenFile>>,
    numbers: HashMap<Identity, u64>,
    next: Cell<u64>,
}

impl OpenFiles {
    /// Opens what was found, for a process of a user; once, however many processes have it.
    ///
    /// # Errors
    /// If it can't be opened, is not a regular file, or too many are open.
    fn open(&mut self, found: &File, user: u32) -> io::Result<Rc<OpenFile>> {
        let identity = Identity::of(found)?;
        if let Some(file) = self.open.get(&identity).and_then(Weak::upgrade) {
            return Ok(file);
        }
        self.open.retain(|_, file| file.strong_count() > 0);
        let of_user = self.open.values().filter_map(Weak::upgrade);
        let of_user = of_user.filter(|file| file.user == user).count();
        if self.open.len() >= MAX_OPEN || of_user >= MAX_OPEN_OF_USER {
            return Err(io::Error::other("too many files are open"));
        }
        let file = place::reopen_regular(found)?;
        if self.numbers.len() >= MAX_NUMBERS {
            self.numbers.clear();
        }
        let number = *self.numbers.entry(identity).or_insert_with(|| {
            self.next.set(self.next.get() + 1);
            self.next.get()
        });
        let file = Rc::new(OpenFile {
            file,
            identity,
            number,
            user,
        });
        self.open.insert(identity, Rc::downgrade(&file));
        Ok(file)
    }

    /// Opens the file of a mapping, in a process's root or in ours: the kernel prints paths relative to the reader's root
    /// if they can be reached from there (a process in a chroot).
    ///
    /// # Errors
    /// As [`Self::program`], and if there is none at that path.
    pub fn mapped(
        &mut self,
        mapping: &MemoryMapping,
        root: &OwnedFd,
        user: u32,
    ) -> io::Result<Rc<OpenFile>> {
        let path = mapping.path().ok_or(io::ErrorKind::NotFound)?;
        let in_ours = || find(&File::open("/")?.into(), path);
        let found = find(root, path)
            .and_then(|found| is_mapped(&found, mapping).map(|()| found))
            .or_else(|_| in_ours().and_then(|found| is_mapped(&found, mapping).map(|()| found)))?;
        self.open(&found, user)
    }

    /// Opens the program of a process by its link in /proc, which also leads to one that was replaced while it runs.
    ///
    /// # Errors
    /// If it can't be opened, is not a regular file, is another file than the mapped one, or too many are open.
    pub fn program(
        &mut self,
        pid: u32,
        mapping: &MemoryMapping,
        user: u32,
    ) -> io::Result<Rc<OpenFile>> {
        let link = format!("/proc/{pid}/exe");
        let found = open_path(libc::AT_FDCWD, OsStr::new(&link), 0)?;
        is_mapped(&found, mapping)?;
        self.open(&found, user)
    }

    /// Opens a file that a process of a user has written, in its root. It must be the user's, and not writable by all.
    ///
    /// # Errors
    /// As above.
    pub fn written(
        &mut self,
        path: &Path,
        root: &OwnedFd,
        effective: u32,
        user: u32,
    ) -> io::Result<Rc<OpenFile>> {
        let found = find(root, path)?;
        let about = found.metadata()?;
        if about.uid() != effective || about.mode() & 0o002 != 0 {
            return Err(io::Error::other("another user may have written it"));
        }
        self.open(&found, user)
    }
}

/// Finds a path below a root directory. Links and `..` can't leave it, links of /proc lead nowhere, and the last name must not be
/// a link.
fn find(root: &OwnedFd, path: &Path) -> io::Result<File> {
    let mut names = names_of(path);
    // From below the root to the present directory.
    let mut above: Vec<File> = Vec::new();
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        if name == ".." {
            above.pop();
            continue;
        }
        let at = above.last().map_or(root.as_raw_fd(), AsRawFd::as_raw_fd);
        let found = open_path(at, &name, libc::O_NOFOLLOW)?;
        if names.is_empty() {
            return Ok(found);
        }
        if !found.metadata()?.is_symlink() {
            above.push(found);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let target = place::read_link(&found)?;
        if target.is_absolute() {
            above.clear();
        }
        for name in names_of(&target).into_iter().rev() {
            names.push_front(name);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn names_of(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    names.collect()
}

fn open_path(at: i32, name: &OsStr, flags: i32) -> io::Result<File> {
    let name = CString::new(name.as_bytes())?;
    let flags = flags | libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the name ends with NUL.
    match unsafe { libc::openat(at, name.as_ptr(), flags) } {
        fd if fd < 0 => Err(io::Error::last_os_error()),
        // SAFETY: a descriptor that was created just now, without another owner.
        fd => Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) })),
    }
}

/// Checks that a file is the mapped one: device and inode as in /proc/PID/maps. Btrfs and overlayfs show another device in
/// stat() than there, and only inodes are compared.
fn is_mapped(found: &File, mapping: &MemoryMapping) -> io::Result<()> {
    let about = found.metadata()?;
    let device = (libc::major(about.dev()), libc::minor(about.dev()));
    let is_same =
        about.ino() == mapping.inode && (device == mapping.device || shows_other_devices(found)?);
    is_same
        .then_some(())
        .ok_or_else(|| io::Error::other("not the file that is mapped"))
}

fn shows_other_devices(file: &File) -> io::Result<bool> {
    // SAFETY: a struct of integers, for which zero is valid.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the struct has the size that the call writes.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut about) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The type differs by architecture.
    let kind = about.f_type as i64;
    Ok(kind == BTRFS_SUPER_MAGIC || kind == OVERLAYFS_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn root(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    fn mapping(name: &str, file: &Path) -> MemoryMapping {
        let about = fs::metadata(file).unwrap();
        MemoryMapping {
            start: 0,
            end: 1,
            offset: 0,
            device: (libc::major(about.dev()), libc::minor(about.dev())),
            inode: about.ino(),
            name: Some(name.as_bytes().into()),
        }
    }

    #[test]
    fn only_the_mapped_regular_file_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&file, "text").unwrap();
        fs::write(&other, "text").unwrap();
        let root = root(directory.path());
        let mut files = OpenFiles::default();
        let first = files.mapped(&mapping("/a", &file), &root, 1).unwrap();
        let again = files.mapped(&mapping("/a", &file), &root, 2).unwrap();
        assert!(Rc::ptr_eq(&first, &again));
        // Another file has the path now; a link; a pipe, whose opening would hang.
        assert!(files.mapped(&mapping("/b", &file), &root, 1).is_err());
        fs::remove_file(&other).unwrap();
        symlink("/a", &other).unwrap();
        assert!(files.mapped(&mapping("/b", &file), &root, 1).is_err());
        fs::remove_file(&other).unwrap();
        let path = CString::new(other.as_os_str().as_bytes()).unwrap();
        // SAFETY: a path that ends with NUL.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o666) }, 0);
        assert!(files.mapped(&mapping("/b", &other), &root, 1).is_err());
        // Another content has another number.
        fs::write(&file, "longer text").unwrap();
        let changed = files.mapped(&mapping("/a", &file), &root, 1).unwrap();
        assert_ne!(changed.number, first.number);
    }

    #[test]
    fn links_do_not_leave_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("real")).unwrap();
        for (path, text) in [("secret", "outside"), ("root/real/file", "inside")] {
            fs::write(directory.path().join(path), text).unwrap();
        }
        for (target, name) in [
            ("/real", "absolute"),
            ("../../real", "relative"),
            ("..", "up"),
            ("loop", "loop"),
            ("real/file", "link"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        let opened: OwnedFd = File::open(&root).unwrap().into();
        let inode =
            |path: &str| find(&opened, Path::new(path)).map(|it| it.metadata().unwrap().ino());
        let inside = fs::metadata(root.join("real/file")).unwrap().ino();
        for path in [
            "/real/file",
            "/absolute/file",
            "/relative/file",
            "/../real/../../real/file",
        ] {
            assert_eq!(inode(path).unwrap(), inside, "{path}");
        }
        for path in [
            "/../secret",
            "/up/secret",
            "/loop/file",
            "/real/file/x",
            "/none",
            "/",
        ] {
            assert!(inode(path).is_err(), "{path}");
        }
        // The link itself, which is no regular file.
        assert_ne!(inode("/link").unwrap(), inside);
    }

    #[test]
    fn what_others_may_have_written_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("perf.map");
        fs::write(&file, "1 1 f").unwrap();
        let root = root(directory.path());
        let mut files = OpenFiles::default();
        let owner = fs::metadata(&file).unwrap().uid();
        let path = Path::new("/perf.map");
        assert!(files.written(path, &root, owner, 1).is_ok());
        assert!(files.written(path, &root, owner + 1, 1).is_err());
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        assert!(files.written(path, &root, owner, 1).is_err());
    }

    #[test]
    fn one_user_does_not_take_all_descriptors() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(directory.path());
        let mut files = OpenFiles::default();
        let mut kept = Vec::new();
        for index in 0..=MAX_OPEN_OF_USER {
            let file = directory.path().join(index.to_string());
            fs::write(&file, "").unwrap();
            let mapping = mapping(&format!("/{index}"), &file);
            kept.extend(files.mapped(&mapping, &root, 1));
            assert!(files.mapped(&mapping, &root, 2).is_ok());
        }
        assert_eq!(kept.len(), MAX_OPEN_OF_USER);
    }
}
