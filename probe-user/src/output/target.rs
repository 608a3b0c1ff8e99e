//! Destination of the output: standard output; with a command, which uses that itself, standard error; or a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use super::page::Page;
use crate::place::Place;
use crate::record;

#[derive(Debug)]
pub enum OutputTarget {
    Stdout,
    Stderr,
    File(OutputFile),
}

/// An error about a file that can't be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The system refuses.
    #[error("can't write {}: {error}", .path.display())]
    Refused { path: PathBuf, error: io::Error },
    /// It would be lost.
    #[error("{} is a recording, which is not overwritten: take another name, or remove it first", .0.display())]
    Recording(PathBuf),
}

/// A file that is open for writing, and unchanged until something is written. If it is dropped before that, it is
/// removed if it did not exist.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: File,
    /// If the file did not exist, and nothing has been written.
    created: Option<Place>,
    /// Whether the file is one that this process was started with: what is in it stays.
    is_stream: bool,
}

impl OutputTarget {
    /// Opens the file, or else the stream. To be called before privileges are dropped, and before anything that takes
    /// time: an unusable path is reported at once.
    ///
    /// # Errors
    /// If the file can't be opened or created, is another user's or a symbolic link, or is a recording; the error contains
    /// its name.
    pub fn open(file: Option<&Path>, has_command: bool) -> Result<Self, OutputError> {
        match file {
            Some(path) => OutputFile::open(path).map(Self::File),
            None if has_command => Ok(Self::Stderr),
            None => Ok(Self::Stdout),
        }
    }

    /// Size and colours of what is written to: a terminal, or without limits.
    pub fn page(&self) -> Page {
        self.current_page()()
    }

    /// Asks for the same again: the size of a terminal changes.
    pub fn current_page(&self) -> fn() -> Page {
        match self {
            Self::Stdout => || Page::of(io::stdout()),
            Self::Stderr => || Page::of(io::stderr()),
            Self::File(_) => Page::default,
        }
    }

    /// Writes a document while it is generated: a long one is never in memory as a whole.
    ///
    /// # Errors
    /// If it can't be written. A closed pipe is reported as such.
    pub fn print(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let (stream, _) = self.into_stream()?;
        let mut stream = BufWriter::with_capacity(64 << 10, stream);
        write(&mut stream)?;
        stream.flush()
    }

    /// The stream, and its descriptor if a reader may close it.
    ///
    /// # Errors
    /// If an existing file can't be truncated.
    pub fn into_stream(self) -> io::Result<(Box<dyn Write + Send>, Option<RawFd>)> {
        Ok(match self {
            Self::Stdout => (Box::new(io::stdout()), Some(libc::STDOUT_FILENO)),
            Self::Stderr => (Box::new(io::stderr()), Some(libc::STDERR_FILENO)),
            Self::File(file) => (Box::new(file.emptied()?), None),
        })
    }
}

impl OutputFile {
    fn open(path: &Path) -> Result<Self, OutputError> {
        let of = |file, created, is_stream| Self {
            path: path.to_owned(),
            file,
            created,
            is_stream,
        };
        let open = || -> io::Result<Self> {
            let place = Place::of(path)?;
            if let Some(stream) = place.own_stream()? {
                return Ok(of(stream, None, true));
            }
            match place.create_new() {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    place.open_existing().map(|file| of(file, None, false))
                }
                created => created.map(|file| of(file, Some(place), false)),
            }
        };
        let opened = open().map_err(|error| OutputError::Refused {
            path: path.to_owned(),
            error,
        })?;
        if opened.created.is_none() && record::is_recording(&opened.file) {
            return Err(OutputError::Recording(path.to_owned()));
        }
        Ok(opened)
    }

    fn emptied(mut self) -> io::Result<NamedFile> {
        let file = self.file.try_clone()?;
        if !self.is_stream && file.metadata()?.is_file() {
            file.set_len(0).map_err(|error| self.named(&error))?;
        }
        self.created = None;
        Ok(NamedFile {
            path: std::mem::take(&mut self.path),
            file,
        })
    }

    fn named(&self, error: &io::Error) -> io::Error {
        named(&self.path, error)
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(place) = &self.created {
            place.remove(&self.file);
        }
    }
}

/// A file whose errors contain its name.
struct NamedFile {
    path: PathBuf,
    file: File,
}

impl Write for NamedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file
            .write(bytes)
            .map_err(|error| named(&self.path, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Keeps the error kind, on which callers decide (and with which `write_all` continues after EINTR).
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("can't write {}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::place::{MODE, tests::at_63};

    #[test]
    fn a_file_has_the_whole_document_and_nothing_older() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        fs::write(&path, "an older and longer report").unwrap();
        let target = OutputTarget::open(Some(&path), true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"an older and longer report");
        target.print(|stream| stream.write_all(b"new\n")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
    }

    #[test]
    fn what_was_not_written_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        drop(OutputTarget::open(Some(&path), false).unwrap());
        assert!(!path.exists());
        fs::write(&path, "older").unwrap();
        drop(OutputTarget::open(Some(&path), false).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"older");
    }

    #[test]
    fn only_its_owner_may_read_a_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        for expected in [MODE, 0o640] {
            let target = OutputTarget::open(Some(&path), false).unwrap();
            target.print(|stream| stream.write_all(b"text")).unwrap();
            let mode = || fs::metadata(&path).unwrap().permissions();
            assert_eq!(mode().mode() & 0o777, expected);
            fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        }
    }

    #[test]
    fn a_file_of_the_shell_keeps_its_text_and_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shared.log");
        fs::write(&path, "first\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let shells = OpenOptions::new().append(true).open(&path).unwrap();
        let (_fd, paths) = at_63(&shells);
        for opened in &paths {
            let target = OutputTarget::open(Some(Path::new(opened)), false).unwrap();
            target.print(|stream| stream.write_all(b"text\n")).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"first\ntext\ntext\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o664);
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("victim"), "kept").unwrap();
        for (target, link) in [("victim", "link"), ("none", "dangling")] {
            std::os::unix::fs::symlink(at(target), at(link)).unwrap();
            let error = OutputTarget::open(Some(&at(link)), false).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(link) && error.contains("is a symbolic link"),
                "{error}"
            );
        }
        assert_eq!(fs::read(at("victim")).unwrap(), b"kept");
        assert!(!at("none").exists());
    }

    #[test]
    fn a_recording_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording");
        let recording = zstd::bulk::compress(b"{}\n", 1).unwrap();
        fs::write(&path, &recording).unwrap();
        let error = OutputTarget::open(Some(&path), false).unwrap_err();
        assert!(error.to_string().contains("is a recording"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), recording);
    }

    #[test]
    fn a_place_that_will_not_do_is_named_at_once() {
        let error = OutputTarget::open(Some(Path::new("/nonexistent/report")), false).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/report"), "{error}");
        let full = OutputTarget::open(Some(Path::new("/dev/full")), false).unwrap();
        let error = full.print(|stream| stream.write_all(b"text")).unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
    }

    #[test]
    fn the_commands_standard_output_is_its_own() {
        assert!(matches!(
            OutputTarget::open(None, true),
            Ok(OutputTarget::Stderr)
        ));
        assert!(matches!(
            OutputTarget::open(None, false),
            Ok(OutputTarget::Stdout)
        ));
    }
}
