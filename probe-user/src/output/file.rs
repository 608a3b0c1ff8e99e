//! Files that are written completely or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::caller::{Caller, Directory};
use crate::record;

/// A document to be written as a file: a temporary file beside the target until it is complete.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    /// Dropped before `directory`, by which it is removed.
    file: NamedTempFile,
    /// Under sudo: the directory that was checked.
    directory: Option<Directory>,
}

/// Why a file can't be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Something else than a regular file has that name.
    #[error("{0} is not a regular file")]
    NotRegular(PathBuf),
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
    /// If there is no such directory, it is not writable, or the name belongs to a directory, a device or a pipe.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
            || path.file_name().is_none()
        {
            return Err(FileError::NotRegular(path.to_owned()));
        }
        if File::open(path).is_ok_and(|existing| record::is_recording(&existing)) {
            return Err(FileError::Recording(path.to_owned()));
        }
        let refused = |error| FileError::Refused(path.to_owned(), error);
        let temporary = |directory: &Path| {
            let mut options = tempfile::Builder::new();
            let file = options.prefix(".twtrace-").tempfile_in(directory);
            file.map_err(refused)
        };
        let Some(caller) = Caller::of_sudo() else {
            let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
            return Ok(Self {
                path: path.to_owned(),
                file: temporary(parent.unwrap_or(Path::new(".")))?,
                directory: None,
            });
        };
        let directory = Directory::of(path).map_err(refused)?;
        let directory = directory.ok_or_else(|| FileError::NotRegular(path.to_owned()))?;
        let file = temporary(&directory.path())?;
        // In a sticky directory, root could not rename another user's file without CAP_FOWNER.
        let is_callers = directory.is_of(caller) && !directory.is_sticky();
        let existing = fs::symlink_metadata(directory.file());
        if is_callers && existing.map_or(true, |existing| caller.has(&existing)) {
            caller.give(file.as_file(), path);
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            directory: Some(directory),
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
                let checked = self.directory.as_ref().map(Directory::file);
                let persisted = temporary.persist(checked.as_ref().unwrap_or(&self.path));
                persisted.map_err(|error| error.error)
            })
            .map_err(|error| FileError::Refused(self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
