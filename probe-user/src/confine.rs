//! Confines a thread to what it needs, in addition to dropping capabilities: Landlock, if the kernel has it (from 5.13;
//! TCP from 6.7, signals and abstract sockets from 6.12).

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, Result};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::privilege::{self, Keep};

/// The version of Landlock used here; a kernel with an older one enforces what it has.
const KNOWN: ABI = ABI::V6;

/// What a thread may still access. What it has already opened stays open.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// No file, and no new TCP connection or port.
    Nothing,
    /// The same, except files below this directory.
    Directory(&'a Path),
    /// The same, except that files below these are readable; missing ones are left out.
    Reading(&'a [&'a Path]),
    /// The same, and that files below others are changed, created and removed.
    Files {
        /// What may be read.
        readable: &'a [&'a Path],
        /// What may also be written.
        writable: &'a [&'a Path],
    },
}

/// Drops all capabilities except these, and confines the thread. Threads of a confined thread are also confined. False
/// if this kernel has no Landlock, or an incomplete one.
pub fn confine(keep: Keep, reach: Reach<'_>) -> Result<bool> {
    privilege::drop_all_but(keep).context("dropping capabilities")?;
    confine_to(reach)
}

/// The same for a thread whose capabilities were already dropped.
pub fn confine_to(reach: Reach<'_>) -> Result<bool> {
    let restricted = ruleset(reach)?.restrict_self().context("Landlock")?;
    Ok(restricted.ruleset == RulesetStatus::FullyEnforced)
}

/// Logs if a thread could not be confined, or not completely; it continues.
pub fn warn_on_failure(confined: Result<bool>) {
    match confined {
        Ok(true) => {}
        Ok(false) => {
            log::info!("this kernel's Landlock confines less than is asked for, or it has none")
        }
        Err(error) => log::warn!("can't confine a thread: {error:#}"),
    }
}

fn ruleset(reach: Reach<'_>) -> Result<RulesetCreated> {
    let all = AccessFs::from_all(KNOWN);
    let rules = Ruleset::default()
        .handle_access(all)
        .and_then(|rules| rules.handle_access(AccessNet::from_all(KNOWN)))
        .and_then(|rules| rules.scope(Scope::from_all(KNOWN)))
        .and_then(Ruleset::create)
        .context("Landlock")?;
    let allow = |rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>| {
        let beneath = PathFd::new(path).with_context(|| path.display().to_string())?;
        let rule = PathBeneath::new(beneath, access);
        rules.add_rule(rule).context("Landlock")
    };
    // A pipe between processes is on no file system, and not restricted: a rule about one would be refused.
    let is_file = |path: &Path| {
        let about = path.metadata();
        about.is_ok_and(|about| !about.file_type().is_fifo() && !about.file_type().is_socket())
    };
    let allow_all = |rules: RulesetCreated, paths: &[&Path], access: BitFlags<AccessFs>| {
        let mut existing = paths.iter().filter(|path| is_file(path));
        existing.try_fold(rules, |rules, path| allow(rules, path, access))
    };
    match reach {
        Reach::Nothing => Ok(rules),
        Reach::Directory(path) => allow(rules, path, all),
        Reach::Reading(paths) => allow_all(rules, paths, AccessFs::from_read(KNOWN)),
        Reach::Files { readable, writable } => {
            let rules = allow_all(rules, readable, AccessFs::from_read(KNOWN))?;
            allow_all(rules, writable, all)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Runs `attempt` in a thread of its own, which stays confined. `None` if this kernel can't do that.
    fn confined<T: Send>(reach: Reach<'_>, attempt: impl FnOnce() -> T + Send) -> Option<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let is_full = confine(Keep::Nothing, reach).unwrap();
                if !is_full {
                    eprintln!("skipped: this kernel has no Landlock, or less than is asked for");
                }
                is_full.then(attempt)
            });
            thread.join().unwrap()
        })
    }

    fn is_refused<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn nothing_is_reached_but_what_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let refused = confined(Reach::Nothing, || {
            assert!(listener.accept().is_ok(), "what is open stays so");
            [
                is_refused(File::open("/etc/passwd")),
                is_refused(File::open("/proc/self/status")),
                is_refused(std::fs::read_dir("/")),
                is_refused(TcpStream::connect(address)),
                is_refused(TcpListener::bind("127.0.0.1:0")),
            ]
        });
        drop(client);
        assert!(
            refused.is_none_or(|refused| refused == [true; 5]),
            "{refused:?}"
        );
        // Only that thread is confined.
        assert!(File::open("/etc/passwd").is_ok() && TcpStream::connect(address).is_ok());
    }

    #[test]
    fn only_the_directory_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let attempts = confined(Reach::Directory(directory.path()), || {
            [
                File::create(directory.path().join("new")).is_ok(),
                is_refused(File::create(other.path().join("new"))),
                is_refused(File::open("/etc/passwd")),
            ]
        });
        assert!(
            attempts.is_none_or(|attempts| attempts == [true; 3]),
            "{attempts:?}"
        );
    }

    #[test]
    fn what_is_readable_is_not_writable() {
        let directory = tempfile::tempdir().unwrap();
        let known = directory.path().join("known");
        std::fs::write(&known, "text").unwrap();
        let paths = [directory.path(), Path::new("/nonexistent")];
        let attempts = confined(Reach::Reading(&paths), || {
            [
                std::fs::read(&known).is_ok(),
                is_refused(File::create(&known)),
                is_refused(File::open("/etc/passwd")),
            ]
        });
        assert!(
            attempts.is_none_or(|attempts| attempts == [true; 3]),
            "{attempts:?}"
        );
    }

    #[test]
    fn some_files_are_read_and_others_written() {
        let directory = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let known = other.path().join("known");
        std::fs::write(&known, "text").unwrap();
        let reach = Reach::Files {
            readable: &[&known, Path::new("/nonexistent")],
            writable: &[directory.path()],
        };
        let attempts = confined(reach, || {
            [
                std::fs::read(&known).is_ok(),
                is_refused(File::create(&known)),
                File::create(directory.path().join("new")).is_ok(),
                is_refused(File::create(other.path().join("new"))),
                is_refused(File::open("/etc/passwd")),
            ]
        });
        assert!(
            attempts.is_none_or(|attempts| attempts == [true; 5]),
            "{attempts:?}"
        );
    }
}
