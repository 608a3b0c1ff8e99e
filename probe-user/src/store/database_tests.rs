use std::collections::HashMap;

use twtrace_core::event::words::Word;
use twtrace_wire::{AbortReason, EndCause, ResetReason, ReuseRefusal, Side};

use super::super::reader::{Reader, Span};
use super::super::samples::interval;
use super::super::writer::Writer;
use super::*;

fn with_intervals(directory: &Path) {
    let mut writer = Writer::open(directory).unwrap();
    for minute in 0..3 {
        writer.write(&interval(minute)).unwrap();
    }
    writer.checkpoint().unwrap();
}

fn count(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM interval", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn an_older_version_is_brought_here() {
    let directory = tempfile::tempdir().unwrap();
    with_intervals(directory.path());
    let second = "ALTER TABLE interval ADD COLUMN note TEXT NOT NULL DEFAULT 'old'";
    let steps = [MIGRATIONS, &[second]].concat();
    let connection = open_with(directory.path(), &steps).unwrap();
    assert_eq!(version(&connection).unwrap(), steps.len() as i64);
    assert_eq!(count(&connection), 3);
    let note: String = connection
        .query_row("SELECT DISTINCT note FROM interval", [], |row| row.get(0))
        .unwrap();
    assert_eq!(note, "old");
}

#[test]
fn resets_by_destination_of_the_first_version_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let connection = open_with(directory.path(), &MIGRATIONS[..1]).unwrap();
    // Interval, number, process, destination; 11 figures, of which the second is `linger_zero`.
    connection
        .execute_batch(
            "INSERT INTO dealing_row VALUES \
             (1, 0, NULL, 'unknown', 42, 'client', '10.0.0.2:80', 3, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
        )
        .unwrap();
    drop(connection);
    let connection = open_to_write(directory.path()).unwrap();
    let counts: (u64, u64) = connection
        .query_row(
            "SELECT reset_sent_linger_zero, reset_sent_peer FROM dealing_row",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(counts, (7, 0));
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    with_intervals(directory.path());
    let steps = [
        MIGRATIONS,
        &["DELETE FROM interval; SELECT no_such_function()"],
    ]
    .concat();
    let error = open_with(directory.path(), &steps).unwrap_err();
    assert!(matches!(error, StoreError::Sqlite { .. }), "{error:?}");
    let connection = open_to_write(directory.path()).unwrap();
    assert_eq!(version(&connection).unwrap(), MIGRATIONS.len() as i64);
    assert_eq!(count(&connection), 3);
}

#[test]
fn a_newer_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    with_intervals(directory.path());
    let path = path_in(directory.path());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    connection
        .pragma_update(None, "journal_mode", "DELETE")
        .unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let written = open_to_write(directory.path()).map(drop).unwrap_err();
    let read = Reader::open(directory.path()).map(drop).unwrap_err();
    for error in [written, read] {
        assert!(
            matches!(error, StoreError::Newer { found: 99, .. }),
            "{error:?}"
        );
        let error = error.to_string();
        let expected = format!(
            "is of version 99, and this twtrace knows versions up to {}",
            MIGRATIONS.len()
        );
        assert!(error.contains(&expected), "{error}");
    }
    assert!(fs::read(&path).unwrap() == before, "the file was changed");
}

#[test]
fn an_older_version_is_not_changed_by_reading() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE interval(id)")
        .unwrap();
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    drop(connection);
    let error = Reader::open(directory.path()).map(drop).unwrap_err();
    assert!(
        matches!(error, StoreError::Older { found: 0, .. }),
        "{error:?}"
    );
}

#[test]
fn another_programs_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE bookmarks(url)")
        .unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let error = open_to_write(directory.path()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Foreign(_)), "{error:?}");
    let error = Reader::open(directory.path()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Foreign(_)), "{error:?}");
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn settings_are_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let connection = open_to_write(directory.path()).unwrap();
    let number = |pragma| number(&connection, pragma).unwrap();
    assert_eq!((number("auto_vacuum"), number("synchronous")), (2, 2));
    assert_eq!(number("temp_store"), 2);
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path_in(directory.path()))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let reader = Reader::open(directory.path()).unwrap();
    assert!(reader.places(Span::default()).unwrap().is_empty());
}

/// Values are written in the order of the columns, so a word added to a set needs a migration.
#[test]
fn columns_are_in_the_order_of_the_words() {
    let directory = tempfile::tempdir().unwrap();
    let connection = open_to_write(directory.path()).unwrap();
    let columns = |table: &str| -> Vec<String> {
        let mut statement = connection
            .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    fn words<T: Word>(prefix: &str) -> Vec<String> {
        let words = T::MEMBERS.iter();
        words.map(|it| format!("{prefix}_{}", it.word())).collect()
    }
    let deaths = [
        words::<ResetReason>("reset_sent"),
        words::<ResetReason>("reset_received"),
        words::<AbortReason>("abort"),
    ]
    .concat();
    let taken: Vec<String> = ["reused", "hindered"].map(str::to_owned).into();
    let reuse = [taken, words::<ReuseRefusal>("refused")].concat();
    let sides = ["time_wait", "fin_wait2", "overflow"].map(words::<Side>);
    let of_process = [
        sides.concat(),
        deaths.clone(),
        words::<EndCause>("ended"),
        reuse.clone(),
    ];
    let expected: HashMap<&str, Vec<String>> = [
        ("process_row", of_process.concat()),
        (
            "destination_row",
            [deaths.clone(), vec!["port_failures".into()], reuse.clone()].concat(),
        ),
        ("dealing_row", [reuse, deaths].concat()),
    ]
    .into();
    for (table, expected) in expected {
        let columns = columns(table);
        let from = columns
            .iter()
            .position(|name| *name == expected[0])
            .unwrap();
        assert_eq!(columns[from..from + expected.len()], expected, "{table}");
    }
}
