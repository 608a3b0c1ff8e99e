//! Opens the files that twtrace writes. As root it writes below directories of untrusted users, where a name may be a
//! link, a pipe, or another user's file: it follows no link of theirs, and writes into no file of theirs.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::caller::{Caller, is_own, is_trusted};

/// Readable by its owner only: what twtrace writes has the names and connections of all users' processes.
pub const MODE: u32 = 0o600;
const NOT_REGULAR: &str = "not a regular file";
const LINK: &str = "it is a symbolic link: use the name of the file itself";
/// Why an existing file is not replaced, and what to do.
pub const NOT_OWN: &str = "belongs to another user, or has another name too: remove it, or use another name \
    (NFS, CIFS and vfat may show your own files as another user's)";
/// As many links as the kernel follows in one path (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// Whether this process writes files by name.
static WRITES_FILES: AtomicBool = AtomicBool::new(false);

/// A directory, and the name of a file in it. It stays the same whatever becomes of its path, so that a file is created in
/// the directory that was checked.
#[derive(Debug)]
pub struct Place {
    directory: File,
    name: OsString,
}

impl Place {
    /// The place of a file. Links to its directory are followed if they belong to this user, to the one who called sudo,
    /// or to root.
    ///
    /// # Errors
    /// If there is no such directory, a link to it is another user's, or the path does not end in a name.
    pub fn of(path: &Path) -> io::Result<Self> {
        // A slash at the end asks for a directory.
        let name = path.file_name();
        let name = name.filter(|_| !path.as_os_str().as_bytes().ends_with(b"/"));
        let Some(name) = name else {
            return Err(io::Error::other("not the name of a file"));
        };
        WRITES_FILES.store(true, Ordering::Relaxed);
        Ok(Self {
            directory: directory(path.parent().unwrap_or(Path::new("")))?,
            name: name.to_owned(),
        })
    }

    /// Path of the directory, as long as this exists.
    pub fn directory(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.directory.as_raw_fd()).into()
    }

    /// Path of the file, as long as this exists.
    pub fn file(&self) -> PathBuf {
        self.directory().join(&self.name)
    }

    /// What has the name now. A link is not followed.
    pub fn existing(&self) -> Option<Metadata> {
        fs::symlink_metadata(self.file()).ok()
    }

    /// Creates a file that does not exist (`O_CREAT | O_EXCL`), for writing, with [`MODE`]. It belongs to the user who
    /// called sudo, if somebody did, and if its directory is that user's or one for all, such as /tmp: nobody is given a file
    /// in a directory where root's files are trusted. If the system refuses that, it stays root's.
    ///
    /// # Errors
    /// If it exists, or can't be created.
    pub fn create_new(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(MODE);
        let created = options.open(self.file())?;
        if let Some(caller) = Caller::of_sudo()
            && (self.is_of(caller) || self.is_for_all())
        {
            caller.give(&created, Path::new(&self.name));
        }
        Ok(created)
    }

    /// Opens what exists, for writing, without truncating it: a regular file of this user (or of the one who called sudo) that has
    /// no second name, their pipe if it has a reader, or a device such as /dev/null. Links are followed only in
    /// directories of root, such as /dev, and not to files. [`Self::own_stream`] is one whatever it is.
    ///
    /// # Errors
    /// If it can't be opened, or is none of these.
    pub fn open_existing(&self) -> io::Result<File> {
        if let Some(stream) = self.own_stream()? {
            return Ok(stream);
        }
        let (file, is_linked) = match self.open(libc::O_NOFOLLOW) {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                if !self.has_trusted_link() {
                    return Err(refused(LINK));
                }
                let opened = self.open(0);
                (opened.map_err(|_| refused(LINK))?, true)
            }
            opened => (opened.map_err(without_reader)?, false),
        };
        let about = file.metadata()?;
        let kind = about.file_type();
        let is_permitted = if is_linked {
            kind.is_char_device()
        } else if about.is_file() {
            is_replaceable(&about)
        } else if kind.is_fifo() {
            is_trusted(&about)
        } else {
            kind.is_char_device()
        };
        if !is_permitted {
            return Err(refused(match () {
                () if is_linked => LINK,
                () if about.is_file() => return Err(refused(&format!("the file {NOT_OWN}"))),
                () if kind.is_fifo() => "the pipe belongs to another user: use another name",
                () => "neither a file, a pipe nor a character device",
            }));
        }
        if !about.is_file() {
            // A slow reader is waited for.
            block(&file)?;
        }
        Ok(file)
    }

    /// Opens a regular file for reading. No link is followed, and nothing else is opened, which could have an effect: the
    /// name may belong to something else by now.
    ///
    /// # Errors
    /// If it can't be opened, or is not a regular file.
    pub fn open_regular(&self) -> io::Result<File> {
        reopen_regular(&open_path(Some(&self.directory), &self.name, 0)?)
    }

    /// The descriptor that the name stands for, if this process was started with it: /dev/stdout, or what a shell passes for
    /// `>(command)`. It is used as it is: a file is neither truncated nor given another mode or position.
    ///
    /// # Errors
    /// If it is not open for writing.
    pub fn own_stream(&self) -> io::Result<Option<File>> {
        let Some(descriptor) = self.own_descriptor() else {
            return Ok(None);
        };
        // SAFETY: no pointers.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
        if flags < 0 {
            return Err(refused("no such descriptor: sudo closes those above 2"));
        }
        if flags & libc::O_PATH != 0 || flags & libc::O_ACCMODE == libc::O_RDONLY {
            return Err(refused("the descriptor is not open for writing"));
        }
        // SAFETY: no pointers.
        match unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) } {
            fd if fd < 0 => Err(io::Error::last_os_error()),
            // SAFETY: a descriptor that was created just now, without another owner.
            fd => Ok(Some(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))),
        }
    }

    /// N of /dev/fd/N and /proc/self/fd/N, also through one link such as /dev/stdout.
    fn own_descriptor(&self) -> Option<RawFd> {
        let own = fs::metadata("/proc/self/fd").ok()?;
        let number = |place: &Self| {
            let directory = place.directory.metadata().ok()?;
            let is_own = identity(&directory) == identity(&own);
            is_own.then(|| place.name.to_str()?.parse().ok()).flatten()
        };
        if let Some(descriptor) = number(self) {
            return Some(descriptor);
        }
        if !self.has_trusted_link() {
            return None;
        }
        let target = fs::read_link(self.file()).ok()?;
        number(&Self::of(&self.directory().join(target)).ok()?)
    }

    /// It never waits for the reader of a pipe, and a terminal does not become the controlling one.
    fn open(&self, flags: libc::c_int) -> io::Result<File> {
        let flags = flags | libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(flags).open(self.file())
    }

    /// Whether the link is one that other users can't have put there.
    fn has_trusted_link(&self) -> bool {
        let is_safe = |directory: Metadata| is_trusted(&directory) && directory.mode() & 0o022 == 0;
        self.existing().is_some_and(|link| is_trusted(&link))
            && self.directory.metadata().is_ok_and(is_safe)
    }

    /// Removes the file if it is still this one.
    pub fn remove(&self, file: &File) {
        if let (Some(there), Ok(ours)) = (self.existing(), file.metadata())
            && identity(&there) == identity(&ours)
        {
            // Otherwise an empty file would be left.
            let _ = fs::remove_file(self.file());
        }
    }

    /// Whether the directory belongs to a user.
    pub fn is_of(&self, caller: Caller) -> bool {
        self.directory
            .metadata()
            .is_ok_and(|directory| caller.has(&directory))
    }

    /// Whether files in it can be renamed and removed by their owner, and that of the directory, only.
    pub fn is_sticky(&self) -> bool {
        self.has_mode(0o1000)
    }

    /// Whether it is sticky, and everybody may create files in it.
    pub fn is_for_all(&self) -> bool {
        self.has_mode(0o1002)
    }

    fn has_mode(&self, bits: u32) -> bool {
        let mode = self.directory.metadata().map(|it| it.mode());
        mode.is_ok_and(|mode| mode & bits == bits)
    }
}

/// Whether this process has a [`Place`], or had one: it may still create, rename or remove files. To be called when all outputs
/// are open.
pub fn writes_files() -> bool {
    WRITES_FILES.load(Ordering::Relaxed)
}

/// Whether a file may be truncated or replaced: a regular one of this user, or of the one who called sudo, with one name.
pub fn is_replaceable(file: &Metadata) -> bool {
    file.is_file() && file.nlink() == 1 && is_own(file)
}

/// Opens a file for reading, without waiting for the writer of a pipe. Links are followed.
///
/// # Errors
/// If it can't be opened, or is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = options.read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(refused(NOT_REGULAR));
    }
    Ok(file)
}

/// Opens what was found with O_PATH, for reading, if it is a regular file: opening anything else may have an effect.
///
/// # Errors
/// If it can't be opened, or is not a regular file.
pub fn reopen_regular(found: &File) -> io::Result<File> {
    if !found.metadata()?.is_file() {
        return Err(refused(NOT_REGULAR));
    }
    open_regular(Path::new(&format!("/proc/self/fd/{}", found.as_raw_fd())))
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

/// Opens a directory (O_PATH), one name after the other.
fn directory(path: &Path) -> io::Result<File> {
    let mut names = names_of(path);
    let mut at = open_path(
        None,
        OsStr::new(if path.is_absolute() { "/" } else { "." }),
        0,
    )?;
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        // O_DIRECTORY has the kernel mount what autofs provides there.
        let next = match open_path(Some(&at), &name, libc::O_DIRECTORY) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => {
                open_path(Some(&at), &name, 0)?
            }
            opened => opened?,
        };
        let about = next.metadata()?;
        if !about.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        if !is_trusted(&about) {
            let name = name.to_string_lossy();
            return Err(refused(&format!(
                "{name} is another user's symbolic link: use the path that it leads to"
            )));
        }
        if is_in_procfs(&next) {
            // It may lead to what no path names.
            let link = PathBuf::from(format!("/proc/self/fd/{}", at.as_raw_fd())).join(&name);
            at = open_followed(&link)?;
            continue;
        }
        let target = read_link(&next)?;
        if target.is_absolute() {
            at = open_path(None, OsStr::new("/"), 0)?;
        }
        for name in names_of(&target).into_iter().rev() {
            names.push_front(name);
        }
    }
    if !at.metadata()?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    Ok(at)
}

fn names_of(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    names.collect()
}

/// Opens a name, and the link itself if it is one. Not to read it, which may not be allowed.
fn open_path(directory: Option<&File>, name: &OsStr, flags: libc::c_int) -> io::Result<File> {
    let name = CString::new(name.as_bytes())?;
    let directory = directory.map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
    let flags = flags | libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name ends with NUL.
    match unsafe { libc::openat(directory, name.as_ptr(), flags) } {
        fd if fd < 0 => Err(io::Error::last_os_error()),
        // SAFETY: a descriptor that was created just now, without another owner.
        fd => Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) })),
    }
}

/// The target of an open link, which may no longer have its name.
///
/// # Errors
/// errno of readlinkat().
pub fn read_link(link: &File) -> io::Result<PathBuf> {
    let mut target = vec![0_u8; libc::PATH_MAX.unsigned_abs() as usize];
    // SAFETY: the name ends with NUL, and the buffer has the given size.
    let length = unsafe {
        libc::readlinkat(
            link.as_raw_fd(),
            c"".as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    target.truncate(length);
    Ok(OsString::from_vec(target).into())
}

fn open_followed(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_PATH).open(path)
}

fn is_in_procfs(file: &File) -> bool {
    // SAFETY: a struct of integers, for which zero is valid.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the struct has the size that the call writes.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut about) };
    result == 0 && about.f_type == libc::PROC_SUPER_MAGIC
}

/// Clears O_NONBLOCK.
fn block(file: &File) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: no pointers.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn without_reader(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENXIO) => {
            refused("a pipe that nobody reads, or a socket: start its reader first")
        }
        _ => error,
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

#[cfg(test)]
#[path = "place_tests.rs"]
pub mod tests;
