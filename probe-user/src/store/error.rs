//! Errors when a history is kept or read.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Errors of a history.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory, or a file in it, can't be used.
    #[error("{}", .path.display())]
    Io {
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("{} is in use: another twtrace keeps its history there", .0.display())]
    InUse(PathBuf),
    /// There is no history.
    #[error("there is no history in {}: twtrace serve --history {} keeps one", .0.display(), .0.display())]
    Missing(PathBuf),
    /// A later twtrace created it.
    #[error(
        "{} is of version {found}, and this twtrace knows versions up to {known}: take a newer twtrace, or another \
         directory. It is left as it is",
        .path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        /// The latest version that is known.
        known: i64,
    },
    /// An earlier twtrace created it, and reading does not migrate it.
    #[error(
        "{} is of version {found}, and this twtrace reads version {known}: twtrace serve --history brings it there",
        .path.display()
    )]
    Older {
        path: PathBuf,
        found: i64,
        /// The version that is read here.
        known: i64,
    },
    /// Another program's database.
    #[error("{} is a database of another program. It is left as it is", .0.display())]
    Foreign(PathBuf),
    /// It is not as it was written.
    #[error("{} is damaged ({why}): twtrace serve --history puts it aside and begins a new one", .path.display())]
    Damaged {
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A row has what no twtrace of this version writes. Only reading the row shows it: `serve` keeps the file.
    #[error(
        "{} has a value that this version does not write ({why}): --since and --until can leave its time out",
        .path.display()
    )]
    UnknownValue {
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Reading it was interrupted.
    #[error(
        "{} takes too long to read: it is not as twtrace writes it, or the disk is very slow",
        .0.display()
    )]
    TooSlow(PathBuf),
    /// Its limit is lower than the size it starts with.
    #[error("a history takes at least {} MiB", super::MIN_BYTES >> 20)]
    TooSmall,
    /// SQLite refuses.
    #[error("{}", .path.display())]
    Sqlite {
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The thread that writes it can't be started.
    #[error("starting the thread that keeps the history")]
    Thread(#[source] io::Error),
}

impl StoreError {
    /// Whether it may be temporary: there is no room, no inode is left, the file system is read-only, or the disk refuses.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::ReadOnlyFilesystem
                ) || source.raw_os_error() == Some(libc::EIO)
            }
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                // The file itself was opened before: what can't be opened is SQLite's log beside it.
                Some(
                    ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::DatabaseBusy
                        | ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                )
            ),
            _ => false,
        }
    }
}

/// Whether an error means that the file is not as it was written.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TooBig
        ),
        _ => is_unknown_value(error),
    }
}

/// Whether a row has values of other types, or words that no twtrace of this version writes.
pub fn is_unknown_value(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::InvalidColumnIndex(_)
    )
}
