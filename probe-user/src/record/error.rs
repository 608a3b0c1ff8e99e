//! Why a recording can't be read to its end, or written.

use std::io;
use std::path::PathBuf;

/// Errors in a recording. What is intact before them has been returned.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("reading {}", .path.display())]
    Io {
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not a recording.
    #[error("{} is no recording: {why}", .path.display())]
    NotARecording {
        path: PathBuf,
        /// What it lacks.
        why: String,
    },
    /// What the file has is also in another one.
    #[error("{} is given twice: each part of a recording counts once", .path.display())]
    Twice { path: PathBuf },
    /// The file ends within its last frame.
    #[error(
        "{} is cut off in the frame at byte {offset}: its last second or less is missing",
        .path.display()
    )]
    CutOff {
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
    },
    /// A frame is not as it was written.
    #[error(
        "{} is damaged in the frame at byte {offset} ({why}): what follows is not read",
        .path.display()
    )]
    Damaged {
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        why: String,
    },
    /// A frame has more text than twtrace writes.
    #[error(
        "{} was compressed by another program (its frame at byte {offset} is too large): \
         zstdcat {} | twtrace ... --from -",
        .path.display(),
        .path.display()
    )]
    TooLarge {
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
    },
    /// A line does not match the format.
    #[error("line {line} of {} can't be read ({why}): what follows is not read", .path.display())]
    Line {
        path: PathBuf,
        /// Its number, from 1.
        line: u64,
        why: String,
    },
    /// The recording was written with a filter that this twtrace does not know.
    #[error("{} was recorded with a filter that this twtrace does not know ({why}): use a newer twtrace", .path.display())]
    Filter {
        path: PathBuf,
        /// What is not known of the filter.
        why: String,
    },
    /// The recording has a later format than this twtrace knows.
    #[error(
        "{} has format {format}, and this twtrace reads up to {known}: use a newer twtrace",
        .path.display()
    )]
    TooNew {
        path: PathBuf,
        format: u32,
        /// The latest format that is known.
        known: u32,
    },
}

/// Why a recording can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file exists already, and is not to be overwritten.
    #[error(
        "{} exists already: take another name, or --force to overwrite it and its parts",
        .0.display()
    )]
    Exists(PathBuf),
    /// The system refuses.
    #[error("writing {}: {what}", .path.display())]
    Io {
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        source: io::Error,
    },
    /// The thread that writes has ended, so that no more frames can be passed to it.
    #[error("the thread that writes {} has ended", .0.display())]
    Ended(PathBuf),
}
