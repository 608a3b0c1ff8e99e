//! Keeps a history that somebody else prepared from doing harm: SQLite runs what the schema of a file says, and reads cells of
//! any size.
//!
//! Views and triggers are switched off. The tables have to be those that twtrace creates. What one call reads is bounded in
//! time, and what one interval holds in size.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

/// The largest cell, bytes: the compressed settings of all namespaces, and more than ten times the largest that was seen.
const MAX_CELL: i32 = 32 << 20;
/// The largest text of a schema, bytes.
const MAX_SQL: i32 = 1 << 20;
/// Maximum size of the cells of one interval, bytes. A full one of a busy host has less than a tenth of it.
const MAX_INTERVAL: u64 = 256 << 20;
/// What a row takes in memory beside its texts, bytes.
const ROW: u64 = 256;
/// How long one call may read.
const MAX_TIME_MS: u64 = 30_000;
/// The deadline is checked once in so many steps of SQLite's machine.
const STEPS: std::ffi::c_int = 10_000;

/// Switches off what no history needs.
pub fn restrict(connection: &Connection) -> rusqlite::Result<()> {
    for (option, is_on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        // Functions with side effects, in expressions of the schema.
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        connection.set_db_config(option, is_on)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_CELL),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_SQL),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 10),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    Ok(())
}

/// The first table that is not as the migrations create it, and in what. Tables and views that users add are not read.
pub fn strange_table(
    connection: &Connection,
    migrations: &[&str],
) -> rusqlite::Result<Option<String>> {
    let own = Connection::open_in_memory()?;
    for step in migrations {
        own.execute_batch(step)?;
    }
    for table in tables(&own)? {
        if kind(connection, &table)?.as_deref() != Some("table") {
            return Ok(Some(format!("{table} is no table")));
        }
        if columns(connection, &table)? != columns(&own, &table)? {
            return Ok(Some(format!("the columns of {table} are others")));
        }
        if indexes(connection, &table)? != indexes(&own, &table)? {
            return Ok(Some(format!("the indexes of {table} are others")));
        }
    }
    Ok(None)
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// `table`, `view`, `virtual` or none.
fn kind(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection
        .prepare("SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ?")?;
    let mut rows = statement.query([name])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

/// Name, type and whether it is computed (`hidden`), by place.
type Column = (String, String, i64);

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement = connection
        .prepare("SELECT name, type, hidden FROM pragma_table_xinfo(?) ORDER BY cid LIMIT 1000")?;
    let columns =
        statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    columns.collect()
}

/// The name of each index and its columns; an expression has no name.
fn indexes(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let mut statement = connection.prepare(
        "SELECT list.name, info.name FROM pragma_index_list(?) AS list, pragma_index_info(list.name) AS info \
         ORDER BY list.name, info.seqno LIMIT 1000",
    )?;
    let indexes = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    indexes.collect()
}

/// Interrupts a call that reads for too long.
#[derive(Debug)]
pub struct Deadline {
    began: Instant,
    /// Milliseconds since `began`.
    at_ms: Arc<AtomicU64>,
}

impl Deadline {
    /// For all that this connection does.
    pub fn set(connection: &Connection) -> rusqlite::Result<Self> {
        let deadline = Self {
            began: Instant::now(),
            at_ms: Arc::default(),
        };
        deadline.extend();
        let (began, at_ms) = (deadline.began, Arc::clone(&deadline.at_ms));
        let has_passed = move || elapsed_ms(began) > at_ms.load(Ordering::Relaxed);
        connection.progress_handler(STEPS, Some(has_passed))?;
        Ok(deadline)
    }

    /// As if it had passed.
    #[cfg(test)]
    pub fn is_over(&self) {
        self.at_ms.store(0, Ordering::Relaxed);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }

    /// Another call begins.
    pub fn extend(&self) {
        let at_ms = elapsed_ms(self.began).saturating_add(MAX_TIME_MS);
        self.at_ms.store(at_ms, Ordering::Relaxed);
    }
}

fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What may still be read of one interval.
#[derive(Debug)]
pub struct Allowance(Cell<u64>);

impl Allowance {
    /// For one interval.
    pub fn of_interval() -> Self {
        Self(Cell::new(MAX_INTERVAL))
    }

    /// Takes a row from it.
    ///
    /// # Errors
    /// If nothing is left.
    pub fn take(&self, row: &Row<'_>) -> rusqlite::Result<()> {
        let columns = row.as_ref().column_count();
        let mut size = ROW;
        for column in 0..columns {
            size += match row.get_ref(column)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
                _ => 0,
            };
        }
        let left = self.0.get().checked_sub(size).ok_or_else(too_large)?;
        self.0.set(left);
        Ok(())
    }
}

fn too_large() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_TOOBIG),
        Some("an interval has more data than any that twtrace writes".to_owned()),
    )
}
