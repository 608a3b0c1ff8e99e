//! Who called sudo: files that twtrace creates belong to that user.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use twtrace_core::event::text::escape;

/// A user's ids, as sudo has written them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl Caller {
    /// Gives the user a file that this process has just created. If the system refuses, it stays root's.
    pub fn give(self, created: &File, path: &Path) {
        if let Err(error) = self.own(created) {
            log::warn!(
                "{} stays root's, chown gives it to you: {error}",
                escape(&path.display().to_string())
            );
        }
    }

    /// Whether a file belongs to the user.
    pub fn has(self, file: &Metadata) -> bool {
        file.uid() == self.uid
    }

    /// The user who called sudo; `None` if nobody or root did, if the variables are not as sudo sets them, or if this
    /// process does not run as root.
    pub fn of_sudo() -> Option<Self> {
        // SAFETY: geteuid() can't fail.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let [uid, gid] = ["SUDO_UID", "SUDO_GID"].map(env::var_os);
        Self::of_ids(uid.as_deref()?, gid.as_deref()?)
    }

    fn of_ids(uid: &OsStr, gid: &OsStr) -> Option<Self> {
        let id = |text: &OsStr| {
            let number = text.to_str()?.parse().ok();
            // fchown() takes -1 as "unchanged".
            number.filter(|id: &u32| *id != u32::MAX)
        };
        let (uid, gid) = (id(uid)?, id(gid)?);
        (uid != 0).then_some(Self { uid, gid })
    }

    /// Gives the user a file that this process has just created (`O_CREAT | O_EXCL`), by its open descriptor: the
    /// variables decide over nothing that existed before.
    ///
    /// # Errors
    /// If the system refuses: a file system without owners, or no CAP_CHOWN.
    fn own(self, created: &File) -> io::Result<()> {
        // SAFETY: it takes numbers; `created` keeps the descriptor open.
        match unsafe { libc::fchown(created.as_raw_fd(), self.uid, self.gid) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Creates a file that does not exist (`O_CREAT | O_EXCL`), for writing. It belongs to the user who called sudo, if somebody
/// did, and if its directory is that user's or one for all, such as /tmp: nobody is given a file in a directory where
/// root's files are trusted. If the system refuses that, it stays root's.
///
/// # Errors
/// If it exists, or can't be created.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let Some(caller) = Caller::of_sudo() else {
        return create(path, mode);
    };
    let Some(directory) = Directory::of(path)? else {
        return create(path, mode);
    };
    let created = directory.create_new(mode)?;
    if directory.is_of(caller) || directory.is_for_all() {
        caller.give(&created, path);
    }
    Ok(created)
}

/// Whether a file belongs to the user that this process runs as, or to the one who called sudo.
pub fn is_own(file: &Metadata) -> bool {
    // SAFETY: geteuid() can't fail.
    let euid = unsafe { libc::geteuid() };
    file.uid() == euid || Caller::of_sudo().is_some_and(|caller| caller.has(file))
}

/// Opens a file that exists, for writing. Without O_CREAT the kernel lets root open another user's file or pipe in /tmp
/// (fs.protected_regular, fs.protected_fifos), so that is checked here: in a sticky directory that everybody may write to,
/// it has to be this user's, or the caller's. Devices are anybody's.
///
/// # Errors
/// If it can't be opened, or is another user's.
pub fn open_existing(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).open(path)?;
    let about = file.metadata()?;
    let kind = about.file_type();
    if kind.is_char_device() || kind.is_block_device() || is_own(&about) || !is_shared(path) {
        return Ok(file);
    }
    Err(io::Error::other(
        "the file that is there is another user's: remove it, or use another name",
    ))
}

/// Whether a name, or what it links to, is in a directory that everybody may write to.
fn is_shared(path: &Path) -> bool {
    let is_in_one = |path: &Path| {
        let directory = Directory::of(path).ok().flatten();
        directory.is_some_and(|directory| directory.is_for_all())
    };
    is_in_one(path) || path.canonicalize().is_ok_and(|real| is_in_one(&real))
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode).open(path)
}

/// A directory, and the name of a file in it. It stays the same whatever becomes of its path, so that a file is created in
/// the directory that was checked.
#[derive(Debug)]
pub struct Directory {
    directory: File,
    name: OsString,
}

impl Directory {
    /// The directory of a file; `None` if the path does not end in a name.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let Some(name) = path.file_name() else {
            return Ok(None);
        };
        // A slash at the end asks for a directory.
        if path.as_os_str().as_bytes().ends_with(b"/") {
            return Ok(None);
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut options = OpenOptions::new();
        // Not to read it, which may not be allowed.
        let flags = libc::O_DIRECTORY | libc::O_PATH;
        let directory = options.read(true).custom_flags(flags).open(parent)?;
        Ok(Some(Self {
            directory,
            name: name.to_owned(),
        }))
    }

    /// A path of the directory, as long as this exists.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.directory.as_raw_fd()).into()
    }

    /// A path of the file, as long as this exists.
    pub fn file(&self) -> PathBuf {
        self.path().join(&self.name)
    }

    fn create_new(&self, mode: u32) -> io::Result<File> {
        create(&self.file(), mode)
    }

    /// Whether the directory belongs to a user.
    pub fn is_of(&self, caller: Caller) -> bool {
        self.directory
            .metadata()
            .is_ok_and(|it| it.uid() == caller.uid)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_numbers_of_a_user_other_than_root_count() {
        let of = |uid: &str, gid: &str| Caller::of_ids(OsStr::new(uid), OsStr::new(gid));
        let expected = Caller {
            uid: 1000,
            gid: 100,
        };
        assert_eq!(of("1000", "100"), Some(expected));
        for (uid, gid) in [
            ("0", "100"),
            ("", "100"),
            ("1000", ""),
            ("-1", "100"),
            ("4294967295", "100"),
            ("1000", "4294967295"),
            ("me", "100"),
        ] {
            assert_eq!(of(uid, gid), None, "{uid} {gid}");
        }
    }

    #[test]
    fn a_directory_stays_the_one_that_was_checked() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("own")).unwrap();
        fs::create_dir(at("other")).unwrap();
        symlink(at("own"), at("link")).unwrap();
        let checked = Directory::of(&at("link/x")).unwrap().unwrap();
        fs::remove_file(at("link")).unwrap();
        symlink(at("other"), at("link")).unwrap();
        checked.create_new(0o600).unwrap();
        assert!(at("own/x").exists() && !at("other/x").exists());
        assert!(checked.create_new(0o600).is_err(), "it exists");
        // SAFETY: these can't fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let (me, other) = (Caller { uid, gid }, Caller { uid: uid + 1, gid });
        assert!(checked.is_of(me) && !checked.is_of(other));
        assert!(!checked.is_for_all());
        fs::set_permissions(at("own"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!checked.is_for_all(), "others may remove it");
        fs::set_permissions(at("own"), fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(checked.is_for_all());
        assert!(Directory::of(Path::new("/")).unwrap().is_none());
        assert!(Directory::of(&at("own/")).unwrap().is_none());
        assert!(Directory::of(&at("none/x")).is_err());
    }

    #[test]
    fn an_open_file_changes_its_owner() {
        let file = tempfile::tempfile().unwrap();
        // SAFETY: these can't fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let other = if uid == 0 { 65_534 } else { uid };
        Caller { uid: other, gid }.own(&file).unwrap();
        assert_eq!(file.metadata().unwrap().uid(), other);
    }
}
