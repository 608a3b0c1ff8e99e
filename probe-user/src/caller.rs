//! Who called sudo: files that twtrace creates belong to that user.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A user's ids, as sudo has written them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl Caller {
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

/// Gives a file that this process has just created (`O_CREAT | O_EXCL`) to the user who called sudo, if somebody did.
/// Where that is refused, it stays root's.
pub fn give(created: &File) {
    if let Some(caller) = Caller::of_sudo()
        && let Err(error) = caller.own(created)
    {
        log::info!("a file stays root's: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

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
