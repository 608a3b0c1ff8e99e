//! The files of a recording on disk: limited in size, never damaged by later writes.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::WriteError;
use crate::place::{MODE, Place, is_replaceable};

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
    /// Where it is. `None` if it is not a file on disk, which alone can be cut and renamed.
    place: Option<Place>,
    file: File,
    bounds: Bounds,
    /// Bytes of whole frames in the file.
    written: u64,
    /// Bytes written to all parts.
    total: u64,
    part: u32,
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
            return Ok(Self::new(path, None, file, bounds));
        }
        let creating = |source| io_error(path, "creating the file", source);
        let place = Place::of(path).map_err(creating)?;
        // Names in that directory, whatever becomes of its path.
        let at = |age| aged(&place.file(), age);
        let ages = 0..bounds.keep.max(1);
        let is_special = place
            .existing()
            .is_some_and(|existing| !existing.is_file() && !existing.is_dir());
        if is_special {
            let file = place.open_existing().map_err(creating)?;
            return Ok(Self::new(path, None, file, bounds));
        }
        if !force {
            let has_content = |age: &u32| {
                let existing = fs::symlink_metadata(at(*age));
                existing.is_ok_and(|existing| existing.len() > 0)
            };
            if let Some(age) = ages.clone().find(has_content) {
                return Err(WriteError::Exists(aged(path, age)));
            }
        }
        let file = open(&place).map_err(creating)?;
        if force {
            for age in ages.skip(1) {
                match fs::remove_file(at(age)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        let old = aged(path, age);
                        return Err(io_error(&old, "removing an old part", error));
                    }
                    _ => {}
                }
            }
        }
        Ok(Self::new(path, Some(place), file, bounds))
    }

    fn new(path: &Path, place: Option<Place>, file: File, bounds: Bounds) -> Self {
        Self {
            path: path.to_owned(),
            place,
            file,
            bounds,
            written: 0,
            total: 0,
            part: 1,
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
            if self.place.is_some()
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
        let (Some(max_bytes), Some(place)) = (self.bounds.max_bytes, &self.place) else {
            return Ok(false);
        };
        let part_bytes = max_bytes / u64::from(self.bounds.keep.max(1));
        let is_full = self.written + frame.len() as u64 > part_bytes;
        if !is_full || frames_in_part < 2 {
            return Ok(false);
        }
        for age in (0..self.bounds.keep.saturating_sub(1)).rev() {
            let current = place.file();
            match fs::rename(aged(&current, age), aged(&current, age + 1)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && age > 0 => {}
                renamed => {
                    let from = aged(&self.path, age);
                    renamed.map_err(|source| io_error(&from, "renaming a full part", source))?;
                }
            }
        }
        // Its name is free: a file that is there now was created by somebody else.
        self.file = place
            .create_new()
            .map_err(|source| io_error(&self.path, "creating the file", source))?;
        self.written = 0;
        self.part += 1;
        Ok(true)
    }
}

/// Creates a file, or truncates the one that is there.
fn open(place: &Place) -> io::Result<File> {
    match place.create_new() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = place.open_existing()?;
            // The owner of the file could read the recording.
            if !is_replaceable(&file.metadata()?) {
                return Err(io::Error::other("another file has just taken the name"));
            }
            file.set_permissions(fs::Permissions::from_mode(MODE))?;
            file.set_len(0)?;
            Ok(file)
        }
        created => created,
    }
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
    fn links_and_pipes_without_a_reader_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("victim"), "kept").unwrap();
        std::os::unix::fs::symlink(at("victim"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("none"), at("dangling")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        for name in ["link", "dangling", "pipe"] {
            for force in [false, true] {
                let error = Files::create(&at(name), BOUNDS, force).unwrap_err();
                assert!(error.to_string().contains(name), "{error}");
            }
        }
        assert_eq!(fs::read(at("victim")).unwrap(), b"kept");
        assert!(!at("none").exists());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut files = Files::create(Path::new("/dev/full"), BOUNDS, false).unwrap();
        let error = files.append(b"frame").unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
    }
}
