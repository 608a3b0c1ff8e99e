//! The files of a recording on disk: limited in size, never damaged by later writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::WriteError;
use crate::caller;

/// Limits of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Size of all parts together, bytes; `None`: no limit, and one part.
    pub max_bytes: Option<u64>,
    /// Number of parts, including the latest.
    pub keep: u32,
}

/// The part that is being written, and those before it.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    file: File,
    bounds: Bounds,
    /// Bytes of whole frames in the file.
    written: u64,
    /// Bytes written to all parts.
    total: u64,
    part: u32,
    /// Only a file on disk can be cut and renamed.
    is_regular: bool,
}

impl Files {
    /// Creates the first part. `-` is standard output.
    ///
    /// # Errors
    /// If a file exists that is not to be overwritten, or the system refuses.
    pub fn create(path: &Path, bounds: Bounds, force: bool) -> Result<Self, WriteError> {
        if path.as_os_str() == "-" {
            let file = File::from(
                std::os::fd::AsFd::as_fd(&io::stdout())
                    .try_clone_to_owned()
                    .map_err(|source| io_error(path, "duplicating standard output", source))?,
            );
            return Ok(Self::new(path, file, bounds, false));
        }
        let parts: Vec<PathBuf> = (1..bounds.keep.max(1)).map(|age| aged(path, age)).collect();
        let is_special = fs::metadata(path).is_ok_and(|about| {
            let kind = about.file_type();
            kind.is_fifo() || kind.is_char_device() || kind.is_socket()
        });
        if !force && !is_special {
            let has_content =
                |path: &&PathBuf| fs::metadata(path).is_ok_and(|about| about.len() > 0);
            let all = std::iter::once(path.to_owned()).chain(parts.iter().cloned());
            let all: Vec<PathBuf> = all.collect();
            if let Some(existing) = all.iter().find(has_content) {
                return Err(WriteError::Exists(existing.clone()));
            }
        }
        let file = open(path, is_special);
        let file = file.map_err(|source| io_error(path, "creating the file", source))?;
        if force && !is_special {
            for old in parts.iter().filter(|old| old.exists()) {
                fs::remove_file(old)
                    .map_err(|source| io_error(old, "removing an old part", source))?;
            }
        }
        Ok(Self::new(path, file, bounds, !is_special))
    }

    fn new(path: &Path, file: File, bounds: Bounds, is_regular: bool) -> Self {
        Self {
            path: path.to_owned(),
            file,
            bounds,
            written: 0,
            total: 0,
            part: 1,
            is_regular,
        }
    }

    /// Number of the part that is being written.
    pub fn part(&self) -> u32 {
        self.part
    }

    /// Bytes written to all parts, including those that were removed.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// Writes a frame. If that fails, removes what was written of it.
    pub fn append(&mut self, frame: &[u8]) -> Result<(), WriteError> {
        if let Err(source) = self.file.write_all(frame) {
            let end = SeekFrom::Start(self.written);
            if self.is_regular
                && let Err(error) = self
                    .file
                    .set_len(self.written)
                    .and_then(|()| self.file.seek(end).map(drop))
            {
                log::warn!(
                    "{}: the last frame is cut off: {error}",
                    self.path.display()
                );
            }
            return Err(io_error(&self.path, "adding to the file", source));
        }
        self.written += frame.len() as u64;
        self.total += frame.len() as u64;
        Ok(())
    }

    /// Begins a new part if this frame would make the current one too large, and returns whether it did. A part has
    /// at least two frames: its `start`, and one more.
    pub fn make_room(&mut self, frame: &[u8], frames_in_part: u64) -> Result<bool, WriteError> {
        let Some(max_bytes) = self.bounds.max_bytes.filter(|_| self.is_regular) else {
            return Ok(false);
        };
        let part_bytes = max_bytes / u64::from(self.bounds.keep.max(1));
        let is_full = self.written + frame.len() as u64 > part_bytes;
        if !is_full || frames_in_part < 2 {
            return Ok(false);
        }
        for age in (0..self.bounds.keep.saturating_sub(1)).rev() {
            let (from, to) = (aged(&self.path, age), aged(&self.path, age + 1));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && age > 0 => {}
                renamed => {
                    renamed.map_err(|source| io_error(&from, "renaming a full part", source))?;
                }
            }
        }
        // Its name is free: a file that is there now was created by somebody else.
        self.file = caller::create_new(&self.path, MODE)
            .map_err(|source| io_error(&self.path, "creating the file", source))?;
        self.written = 0;
        self.part += 1;
        Ok(true)
    }
}

/// Readable by its owner only: it has the names of all users' processes.
const MODE: u32 = 0o600;

/// Creates a file, or opens the one that is there.
fn open(path: &Path, is_special: bool) -> io::Result<File> {
    match caller::create_new(path, MODE) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if is_special {
                let file = caller::open_existing(path)?;
                if file.metadata()?.is_file() {
                    return Err(io::Error::other("another file has just taken the name"));
                }
                return Ok(file);
            }
            // It must not wait for the reader of a pipe that has taken the name.
            let mut options = OpenOptions::new();
            let options = options.write(true).custom_flags(libc::O_NONBLOCK);
            let file = options.open(path)?;
            check_owner(&file)?;
            file.set_permissions(fs::Permissions::from_mode(MODE))?;
            file.set_len(0)?;
            Ok(file)
        }
        created => created,
    }
}

/// The owner of the file could read the recording.
fn check_owner(file: &File) -> io::Result<()> {
    let about = file.metadata()?;
    if about.is_file() && about.nlink() == 1 && caller::is_own(&about) {
        return Ok(());
    }
    Err(io::Error::other(
        "the file that is there is another user's, or has another name too: remove it, or use another name",
    ))
}

/// `FILE`, `FILE.1`, `FILE.2`: the higher the number, the older the part.
fn aged(path: &Path, age: u32) -> PathBuf {
    match age {
        0 => path.to_owned(),
        age => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{age}"));
            name.into()
        }
    }
}

fn io_error(path: &Path, what: &'static str, source: io::Error) -> WriteError {
    WriteError::Io {
        path: path.to_owned(),
        what,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        max_bytes: Some(60),
        keep: 3,
    };

    #[test]
    fn parts_are_bounded_in_size_and_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r");
        let mut files = Files::create(&path, BOUNDS, false).unwrap();
        let mut frames_in_part = 0;
        for number in 0..20 {
            let frame = [number; 9];
            if files.make_room(&frame, frames_in_part).unwrap() {
                frames_in_part = 0;
            }
            files.append(&frame).unwrap();
            frames_in_part += 1;
        }
        let lengths: Vec<u64> = (0..3)
            .map(|age| fs::metadata(aged(&path, age)).unwrap().len())
            .collect();
        assert_eq!(lengths, [18, 18, 18]);
        assert!(!aged(&path, 3).exists());
        assert_eq!(fs::read(&path).unwrap()[9], 19);
        assert_eq!((files.part(), files.total_bytes()), (10, 180));
    }

    #[test]
    fn what_is_there_is_not_overwritten_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r");
        fs::write(aged(&path, 2), "old").unwrap();
        let error = Files::create(&path, BOUNDS, false).unwrap_err();
        assert!(matches!(&error, WriteError::Exists(old) if *old == aged(&path, 2)));
        assert!(!path.exists());
        Files::create(&path, BOUNDS, true).unwrap();
        assert!(path.exists() && !aged(&path, 2).exists());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut files = Files::create(Path::new("/dev/full"), BOUNDS, false).unwrap();
        let error = files.append(b"frame").unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
    }
}
