//! Confines the process before it reads recordings or a history: anybody may have prepared these, and decompressing and
//! parsing them takes no privilege.

use std::path::{Path, PathBuf};

use crate::attempts::Attempts;
use crate::confine::{self, Reach};
use crate::place;
use crate::privilege::Keep;
use crate::system_calls::{self, Extent, Work};

/// Files that are read for time zones, whatever the source.
const ALWAYS: [&str; 2] = ["/etc/localtime", "/usr/share/zoneinfo"];

/// From now on this thread and those that it starts read only these files, and write only beside `outputs`; where the kernel has no
/// Landlock, only capabilities and system calls are dropped. To be called when outputs are open, and before anything is read.
pub fn read_only_from(recordings: &[PathBuf], outputs: &[Option<&Path>]) {
    let files = recordings.iter().map(PathBuf::as_path);
    confine_to(files.chain(ALWAYS.map(Path::new)).collect(), &[], outputs);
}

/// The same for the history of a directory: SQLite writes an index of its log there.
pub fn read_only_from_history(directory: &Path, outputs: &[Option<&Path>]) {
    confine_to(ALWAYS.map(Path::new).to_vec(), &[directory], outputs);
}

fn confine_to(readable: Vec<&Path>, directories: &[&Path], outputs: &[Option<&Path>]) {
    let beside = outputs.iter().flatten().map(|path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    });
    let mut writable: Vec<PathBuf> = beside.collect();
    writable.extend(directories.iter().map(|path| (*path).to_owned()));
    let keep = match writable.is_empty() {
        true => Keep::Reading,
        false => Keep::ReadingAndWriting,
    };
    // The terminal, by its own name and as the controlling one.
    writable.push("/dev/tty".into());
    writable.push("/dev/pts".into());
    let writable: Vec<&Path> = writable.iter().map(PathBuf::as_path).collect();
    let reach = Reach::Files {
        readable: &readable,
        writable: &writable,
    };
    let attempts = Attempts::of("offline");
    confine::warn_on_failure(confine::confine(keep, reach));
    let work = if directories.is_empty() {
        Work::ReadRecordings {
            writes_files: place::writes_files(),
        }
    } else {
        Work::ReadHistory
    };
    system_calls::warn_on_failure(system_calls::restrict_to(work, Extent::Process));
    attempts.run();
}
