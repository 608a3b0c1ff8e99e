//! Files that somebody prepared to keep twtrace busy, or to fill its memory.

use super::*;

/// A history of three intervals, changed.
fn changed(sql: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    kept(directory.path(), (0..3).map(interval));
    let connection = Connection::open(database::path_in(directory.path())).unwrap();
    connection.execute_batch(sql).unwrap();
    directory
}

/// Why it is refused, from its opening to the last of its intervals.
fn refused(directory: &Path) -> Option<StoreError> {
    let read = || -> Result<(), StoreError> {
        let mut reader = Reader::open(directory)?;
        for place in reader.places(Span::default())? {
            reader.interval(&place)?;
        }
        Ok(())
    };
    read().err()
}

fn why_damaged(directory: &Path) -> String {
    match refused(directory) {
        Some(StoreError::Damaged { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// Rows without end.
const ENDLESS: &str =
    "WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more) SELECT n FROM more";

#[test]
fn a_pipe_is_no_history() {
    let directory = tempfile::tempdir().unwrap();
    let path = database::path_in(directory.path());
    let path = std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let error = refused(directory.path());
    assert!(matches!(error, Some(StoreError::Io { .. })), "{error:?}");
}

#[test]
fn a_view_in_place_of_a_table_is_not_read() {
    let directory = changed(&format!(
        "DROP TABLE lost_row; CREATE VIEW lost_row AS {ENDLESS}"
    ));
    assert_eq!(why_damaged(directory.path()), "lost_row is no table");
}

#[test]
fn views_of_users_are_left_alone() {
    let directory = changed(&format!(
        "CREATE VIEW own AS {ENDLESS}; CREATE TABLE mine(a); CREATE TRIGGER t AFTER INSERT ON mine BEGIN DELETE FROM mine; END"
    ));
    assert!(refused(directory.path()).is_none());
}

#[test]
fn a_computed_column_is_not_read() {
    let directory = changed(
        "DROP TABLE lost_row; CREATE TABLE lost_row(interval_id INTEGER NOT NULL, probe TEXT NOT NULL, \
         lost INTEGER AS (length(zeroblob(100000000))), PRIMARY KEY(interval_id, probe)) WITHOUT ROWID",
    );
    assert_eq!(
        why_damaged(directory.path()),
        "the columns of lost_row are others"
    );
}

#[test]
fn an_index_of_an_expression_is_refused() {
    let directory = changed("CREATE INDEX slow ON lost_row(hex(probe))");
    assert_eq!(
        why_damaged(directory.path()),
        "the indexes of lost_row are others"
    );
}

/// When the history is written, too.
#[test]
fn no_trigger_runs() {
    let directory =
        changed("CREATE TRIGGER wipe AFTER INSERT ON interval BEGIN DELETE FROM interval; END");
    let history = History::start(options(directory.path()), || {}).unwrap();
    history.put(interval(3));
    history.stop();
    assert_eq!(ids(directory.path()), [1, 2, 3, 4]);
}

#[test]
fn a_strange_table_begins_a_new_history() {
    let directory = changed(&format!(
        "DROP TABLE finding_row; CREATE VIEW finding_row AS {ENDLESS}"
    ));
    let history = History::start(options(directory.path()), || {}).unwrap();
    history.put(interval(3));
    history.stop();
    assert_eq!(ids(directory.path()), [1]);
}

#[test]
fn a_huge_cell_is_not_read() {
    let directory =
        changed("UPDATE netns_row SET json = printf('%.*c', 40000000, 'x') WHERE interval_id = 2");
    let why = why_damaged(directory.path());
    assert!(why.contains("too big"), "{why}");
}

#[test]
fn an_interval_of_many_large_cells_is_not_read() {
    // Spaces, as JSON allows them.
    let directory = changed(
        "DELETE FROM netns_row; \
         WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more WHERE n < 30) \
         INSERT INTO netns_row SELECT 2, n, 'x', 'host', \
         printf('%*s', 10000000, '') || '{\"netns\":1,\"name\":\"x\",\"after\":\"host\"}' FROM more",
    );
    let why = why_damaged(directory.path());
    assert!(why.contains("more data than any"), "{why}");
}

#[test]
fn what_reads_for_too_long_is_interrupted() {
    let connection = Connection::open_in_memory().unwrap();
    let deadline = guard::Deadline::set(&connection).unwrap();
    deadline.is_over();
    let error = connection
        .query_row(&format!("SELECT max(n) FROM ({ENDLESS})"), [], |row| {
            row.get::<_, i64>(0)
        })
        .unwrap_err();
    let error = database::read_error(Path::new("history.db"), error);
    assert!(matches!(error, StoreError::TooSlow(_)), "{error:?}");
}
