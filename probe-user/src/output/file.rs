//! Files that are written completely or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::caller::Caller;
use crate::place::{NOT_OWN, Place, is_replaceable};
use crate::record;

/// A document to be written as a file: a temporary file beside the target until it is complete.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    /// Dropped before `place`, by which it is removed.
    file: NamedTempFile,
    place: Place,
}

/// Why a file can't be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Something else than a regular file has that name.
    #[error("{0} is not a regular file")]
    NotRegular(PathBuf),
    /// It would be replaced.
    #[error("{} {}", .0.display(), NOT_OWN)]
    NotOwn(PathBuf),
    /// The name is a link.
    #[error("{0} is a symbolic link: use the name of the file itself")]
    Link(PathBuf),
    /// It is a recording.
    #[error("{0} is a recording, which is not overwritten: use another name, or remove it first")]
    Recording(PathBuf),
    /// The system refuses.
    #[error("can't write {0}")]
    Refused(PathBuf, #[source] io::Error),
}

impl WholeFile {
    /// Creates the temporary file, so that a wrong path is reported before anything is measured. Only its owner may
    /// read it (mode 0600): it contains data about the processes of all users. That is the user who called
    /// sudo if the directory is that user's, and so is a file that it replaces.
    ///
    /// # Errors
    /// If there is no such directory, it is not writable, or the name belongs to a link, a directory, a device, a pipe or
    /// another user's file.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let refused = |error| FileError::Refused(path.to_owned(), error);
        if path.file_name().is_none() {
            return Err(FileError::NotRegular(path.to_owned()));
        }
        let place = Place::of(path).map_err(refused)?;
        let existing = place.existing();
        if let Some(existing) = &existing {
            let error = match existing {
                link if link.is_symlink() => Some(FileError::Link(path.to_owned())),
                file if !file.is_file() => Some(FileError::NotRegular(path.to_owned())),
                file if !is_replaceable(file) => Some(FileError::NotOwn(path.to_owned())),
                _ => None,
            };
            if let Some(error) = error {
                return Err(error);
            }
        }
        let opened = place.open_regular();
        if opened.is_ok_and(|existing| record::is_recording(&existing)) {
            return Err(FileError::Recording(path.to_owned()));
        }
        let mut options = tempfile::Builder::new();
        let file = options.prefix(".twtrace-").tempfile_in(place.directory());
        let file = file.map_err(refused)?;
        if let Some(caller) = Caller::of_sudo() {
            // In a sticky directory, root could not rename another user's file without CAP_FOWNER.
            let is_callers = place.is_of(caller) && !place.is_sticky();
            if is_callers && existing.is_none_or(|existing| caller.has(&existing)) {
                caller.give(file.as_file(), path);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            place,
        })
    }

    /// Writes everything, and renames the file to its name. An existing file is replaced.
    ///
    /// # Errors
    /// If the disk is full, or the directory is no longer writable.
    pub fn write(mut self, content: &[u8]) -> Result<(), FileError> {
        let written = self
            .file
            .write_all(content)
            .and_then(|()| self.file.as_file().sync_all());
        let temporary: TempPath = self.file.into_temp_path();
        written
            .and_then(|()| {
                let persisted = temporary.persist(self.place.file());
                persisted.map_err(|error| error.error)
            })
            .map_err(|error| FileError::Refused(self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn whole_and_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page.html");
        fs::write(&path, "old").unwrap();
        let file = WholeFile::create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.write(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(directory.path()), ["page.html"]);
    }

    #[test]
    fn nothing_is_left_where_it_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page.html");
        drop(WholeFile::create(&path).unwrap());
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn a_link_is_neither_followed_nor_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("victim"), "kept").unwrap();
        for (target, link) in [("victim", "link"), ("none", "dangling")] {
            symlink(at(target), at(link)).unwrap();
            let error = WholeFile::create(&at(link)).unwrap_err().to_string();
            assert!(error.contains("symbolic link"), "{error}");
        }
        fs::hard_link(at("victim"), at("second")).unwrap();
        let error = WholeFile::create(&at("second")).unwrap_err().to_string();
        assert!(error.contains("another name"), "{error}");
        assert_eq!(names(directory.path()).len(), 4);
    }

    #[test]
    fn what_is_no_place_for_a_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path(), Path::new("/dev/null"), Path::new("..")] {
            let error = WholeFile::create(path).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
        }
        let path = directory.path().join("none/page.html");
        let error = anyhow::Error::from(WholeFile::create(&path).unwrap_err());
        let error = format!("{error:#}");
        assert!(error.contains("none/page.html: No such file"), "{error}");
    }
}
