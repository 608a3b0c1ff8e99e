//! Who called sudo: files that twtrace creates belong to that user.

use std::env;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use twtrace_core::event::text::escape;

/// A user's ids, as sudo has written them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: libc::uid_t,
    pub gid: libc::gid_t,
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

/// Whether a file belongs to the user that this process runs as, or to the one who called sudo.
pub fn is_own(file: &Metadata) -> bool {
    // SAFETY: geteuid() can't fail.
    let euid = unsafe { libc::geteuid() };
    file.uid() == euid || Caller::of_sudo().is_some_and(|caller| caller.has(file))
}

/// Whether a file belongs to one of these, or to root.
pub fn is_trusted(file: &Metadata) -> bool {
    file.uid() == 0 || is_own(file)
}

#[cfg(test)]
mod tests {
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
    fn an_open_file_changes_its_owner() {
        let file = tempfile::tempfile().unwrap();
        // SAFETY: these can't fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let other = if uid == 0 { 65_534 } else { uid };
        Caller { uid: other, gid }.own(&file).unwrap();
        assert_eq!(file.metadata().unwrap().uid(), other);
    }
}
