//! Opens the history's file, creates it, migrates it to this version, and sets a damaged one aside.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::error::{StoreError, is_damage, is_unknown_value};
use super::guard::{self, Deadline};
use crate::caller::is_trusted;
use crate::place::MODE;

/// Name of the file in its directory.
const FILE: &str = "history.db";
/// Locked by the process that writes.
const LOCK: &str = "history.lock";
/// Prefix of the name that a damaged file is renamed to; the time follows.
const DAMAGED: &str = "history.db.damaged-";
/// `PRAGMA application_id`: `twth`.
const APPLICATION_ID: i64 = 0x7477_7468;
/// The steps from each version to the next; the first one creates the tables.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2_pair_resets.sql"),
    include_str!("schema_3_unanswered.sql"),
];
/// How long to wait for the transaction of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// The file of a directory.
pub fn path_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Held for as long as a history is written.
#[derive(Debug)]
pub struct Lock {
    /// Closing the file releases the lock, also if the process is killed.
    _file: File,
}

impl Lock {
    /// Creates the directory if it does not exist, and takes the lock in it.
    ///
    /// # Errors
    /// If another process has the lock, or it can't be created.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        let fails = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(fails(directory))?;
        let path = directory.join(LOCK);
        let file = create(&path).map_err(fails(&path))?;
        // SAFETY: the descriptor is open for the length of the call.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            return Err(match error.kind() {
                io::ErrorKind::WouldBlock => StoreError::InUse(directory.to_owned()),
                _ => fails(&path)(error),
            });
        }
        // As the emptyDir of Kubernetes. Links, pipes and files of others are refused in it, too.
        let is_shared = |about: &Metadata| !is_trusted(about) || about.mode() & 0o002 != 0;
        if fs::metadata(directory).is_ok_and(|about| is_shared(&about)) {
            log::warn!(
                "{}: other users may write to this directory, and remove or rename the history: use one of your own",
                directory.display()
            );
        }
        Ok(Self { _file: file })
    }
}

/// Creates a file, or opens the one that is there, to append to it. SQLite gives its other files the mode of this one.
fn create(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(MODE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a symbolic link: link the directory instead"),
        Some(libc::ENXIO) => io::Error::other("not a regular file"),
        _ => error,
    })?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if !is_trusted(&about) {
        // Its owner could read the history.
        return Err(io::Error::other(
            "it belongs to another user, or the file system maps owners: chown it, or use another directory",
        ));
    }
    Ok(file)
}

/// Opens the history of a directory for writing, whatever its state. Sets a damaged one aside.
///
/// # Errors
/// If it is another program's, has a later version, or the disk refuses.
pub fn open_to_write(directory: &Path) -> Result<Connection, StoreError> {
    open_with(directory, MIGRATIONS)
}

fn open_with(directory: &Path, migrations: &[&str]) -> Result<Connection, StoreError> {
    let path = path_in(directory);
    match try_open(&path, migrations) {
        Err(error) if is_damaged(&error) => {
            let aside = put_aside(directory)?;
            log::warn!(
                "{error:#}. It is now {}, and a new history begins",
                aside.display()
            );
            try_open(&path, migrations)
        }
        opened => opened,
    }
}

fn is_damaged(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged { .. } | StoreError::UnknownValue { .. } => true,
        StoreError::Sqlite { source, .. } => is_damage(source),
        _ => false,
    }
}

fn try_open(path: &Path, migrations: &[&str]) -> Result<Connection, StoreError> {
    let fails = |source| StoreError::Sqlite {
        path: path.to_owned(),
        source,
    };
    create(path).map_err(|source| StoreError::Io {
        path: path.to_owned(),
        source,
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(fails)?;
    guard::restrict(&connection).map_err(fails)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fails)?;
    connection.set_prepared_statement_cache_capacity(64);
    let known = migrations.len() as i64;
    let found = version(&connection).map_err(fails)?;
    if found != 0 || !is_empty(&connection).map_err(fails)? {
        check_origin(path, &connection, known)?;
        check_whole(path, &connection)?;
        check_tables(
            path,
            &connection,
            &migrations[..usize::try_from(found).unwrap_or(0)],
        )?;
    }
    prepare(&connection).map_err(fails)?;
    if found < known {
        migrate(&mut connection, found, migrations).map_err(fails)?;
        if found > 0 {
            log::info!("{}: brought to version {known}", path.display());
        }
    }
    Ok(connection)
}

/// Sets up the connection. Temporary tables stay in memory, because no other directory may be written.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // Takes effect only before the first table is created.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // A commit is on the disk when it returns. There is one per minute.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cell_size_check", "ON")
}

fn migrate(connection: &mut Connection, found: i64, migrations: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let from = usize::try_from(found).unwrap_or(0);
    for step in &migrations[from..] {
        transaction.execute_batch(step)?;
    }
    set_version(&transaction, migrations.len() as i64)?;
    transaction.commit()
}

fn set_version(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version)
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    number(connection, "user_version")
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
        row.get(0)
    })
}

fn check_origin(path: &Path, connection: &Connection, known: i64) -> Result<(), StoreError> {
    let fails = |source| StoreError::Sqlite {
        path: path.to_owned(),
        source,
    };
    if number(connection, "application_id").map_err(fails)? != APPLICATION_ID {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    match version(connection).map_err(fails)? {
        found if found > known => Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        }),
        _ => Ok(()),
    }
}

fn check_tables(
    path: &Path,
    connection: &Connection,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let strange = guard::strange_table(connection, migrations);
    match strange.map_err(|source| read_error(path, source))? {
        Some(why) => Err(StoreError::Damaged {
            path: path.to_owned(),
            why,
        }),
        None => Ok(()),
    }
}

/// Reads all of it.
fn check_whole(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let said: rusqlite::Result<String> =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let why = match said {
        Ok(said) if said == "ok" => return Ok(()),
        Ok(said) => said,
        Err(source) if is_damage(&source) => source.to_string(),
        Err(source) => {
            return Err(StoreError::Sqlite {
                path: path.to_owned(),
                source,
            });
        }
    };
    Err(StoreError::Damaged {
        path: path.to_owned(),
        why: why.replace('\n', " "),
    })
}

/// Renames the file, and those that belong to it. Keeps only the latest damaged file.
fn put_aside(directory: &Path) -> Result<PathBuf, StoreError> {
    let fails = |source| StoreError::Io {
        path: directory.to_owned(),
        source,
    };
    for entry in fs::read_dir(directory).map_err(fails)? {
        let entry = entry.map_err(fails)?;
        if entry.file_name().to_string_lossy().starts_with(DAMAGED) {
            fs::remove_file(entry.path()).map_err(fails)?;
        }
    }
    let now = jiff::Timestamp::now();
    let aside = directory.join(format!("{DAMAGED}{now:.0}"));
    for suffix in ["", "-wal", "-shm"] {
        let with_suffix = |path: &Path| {
            let mut path = path.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        match fs::rename(with_suffix(&path_in(directory)), with_suffix(&aside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fails(error)),
            _ => {}
        }
    }
    Ok(aside)
}

/// Opens the history of a directory for reading. Another process may continue to write it.
///
/// # Errors
/// If there is none, or it is not of this version.
pub fn open_to_read(directory: &Path) -> Result<(Connection, Deadline), StoreError> {
    let path = path_in(directory);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Missing(directory.to_owned()));
        }
        Err(source) => return Err(StoreError::Io { path, source }),
        // A pipe would wait for a writer.
        Ok(about) if !about.is_file() => {
            let source = io::Error::other("not a regular file");
            return Err(StoreError::Io { path, source });
        }
        Ok(_) => {}
    }
    let opened = read_only(&path, false);
    // On a read-only disk SQLite can't create the index of its log, but there is no writer either.
    let has_log = fs::metadata(path.with_extension("db-wal")).is_ok_and(|log| log.len() > 0);
    let opened = match opened {
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if !has_log && matches!(failure.code, ErrorCode::CannotOpen | ErrorCode::ReadOnly) =>
        {
            read_only(&path, true)
        }
        opened => opened,
    };
    let (connection, deadline) = opened.map_err(|source| read_error(&path, source))?;
    let known = MIGRATIONS.len() as i64;
    check_origin(&path, &connection, known)?;
    match version(&connection).map_err(|source| read_error(&path, source))? {
        found if found < known => Err(StoreError::Older { path, found, known }),
        _ => {
            check_tables(&path, &connection, MIGRATIONS)?;
            Ok((connection, deadline))
        }
    }
}

/// The error for what SQLite reports of a file that is read.
pub fn read_error(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    let why = source.to_string();
    match source {
        source if is_unknown_value(&source) => StoreError::UnknownValue { path, why },
        source if is_damage(&source) => StoreError::Damaged { path, why },
        source if source.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            StoreError::TooSlow(path)
        }
        source => StoreError::Sqlite { path, source },
    }
}

fn read_only(path: &Path, is_immutable: bool) -> rusqlite::Result<(Connection, Deadline)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if is_immutable {
        let uri = format!("file:{}?immutable=1", percent_encoded(path));
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    guard::restrict(&connection)?;
    let deadline = Deadline::set(&connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The first read of the file.
    is_empty(&connection)?;
    Ok((connection, deadline))
}

fn percent_encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes().iter();
    bytes
        .map(|byte| match byte {
            b'/' | b'-' | b'.' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                char::from(*byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Distinguishes a file from another one with the same name.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
