//! Why a recording can't be read to its end, or written.

use std::io;
use std::path::PathBuf;

/// What is wrong with a recording. What was good before it has been given.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be opened or read.
    #[error("reading {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no recording: {why}", .path.display())]
    NotARecording {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        why: String,
    },
    /// The last frame is not whole.
    #[error(
        "{} is cut off in the frame at byte {offset}: its last second or less is missing",
        .path.display()
    )]
    CutOff {
        /// The file.
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
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// What was found.
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
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
    },
    /// A line is none of the format.
    #[error("line {line} of {} can't be read ({why}): what follows is not read", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: u64,
        /// What was found.
        why: String,
    },
    /// It was made with a filter that was not known when this one was made.
    #[error("{} was made with a filter that this twtrace does not know ({why}): use a newer twtrace", .path.display())]
    Filter {
        /// The file.
        path: PathBuf,
        /// What is not known.
        why: String,
    },
    /// It is of a version that was not known when this one was made.
    #[error(
        "{} has format {format}, and this twtrace reads up to {known}: use a newer twtrace",
        .path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The latest that is known.
        known: u32,
    },
}

/// Why a recording can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Something is there already.
    #[error(
        "{} exists already: take another name, or --force to overwrite it and its parts",
        .0.display()
    )]
    Exists(PathBuf),
    /// The system refuses.
    #[error("writing {}: {what}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Frames wait, and no more fit.
    #[error("the thread that writes {} has ended", .0.display())]
    Ended(PathBuf),
}
