//! Files that are not as they were written.

use std::fs;

use super::*;

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn damaged(directory: &Path, damage: impl FnOnce(&mut Vec<u8>)) {
    kept(directory, (0..20).map(interval));
    let path = database::path_in(directory);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
}

fn begins_anew(directory: &Path) {
    let history = History::start(options(directory), || {}).unwrap();
    history.put(interval(20));
    history.stop();
    assert_eq!(ids(directory), [1]);
    let aside = files(directory);
    let aside: Vec<_> = aside
        .iter()
        .filter(|name| name.starts_with("history.db.damaged-20") && name.ends_with('Z'))
        .collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
}

#[test]
fn garbage_within_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    damaged(directory.path(), |bytes| {
        let end = bytes.len();
        bytes[4_096..end].fill(0x5a);
    });
    let error = Reader::open(directory.path())
        .and_then(|reader| reader.places(Span::default()))
        .unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    let error = error.to_string();
    assert!(
        error.contains("history.db is damaged (") && !error.contains('\n'),
        "{error}"
    );
    begins_anew(directory.path());
}

#[test]
fn one_page_of_garbage_is_found_when_it_starts() {
    let directory = tempfile::tempdir().unwrap();
    damaged(directory.path(), |bytes| {
        let end = bytes.len();
        bytes[end - 4_096..end].fill(0x5a);
    });
    begins_anew(directory.path());
}

#[test]
fn what_is_no_database_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    damaged(directory.path(), |bytes| bytes[..100].fill(0x5a));
    let error = Reader::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    begins_anew(directory.path());
    // Only the latest of the files that were set aside is kept.
    fs::write(database::path_in(directory.path()), "no database, but longer than its header of a hundred bytes, which is what it takes to be none").unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(directory.path().join(format!("history.db{suffix}")));
    }
    begins_anew(directory.path());
}

#[test]
fn a_file_that_was_cut_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    damaged(directory.path(), |bytes| bytes.truncate(bytes.len() / 2));
    begins_anew(directory.path());
}

#[test]
fn damage_while_it_runs_costs_no_interval_that_comes() {
    let directory = tempfile::tempdir().unwrap();
    kept(directory.path(), (0..20).map(interval));
    let history = History::start(options(directory.path()), || {}).unwrap();
    let path = database::path_in(directory.path());
    // What another process changed is read from the disk again.
    let other = Connection::open(&path).unwrap();
    let changed = "UPDATE interval SET lost = 7; PRAGMA wal_checkpoint(TRUNCATE)";
    other.execute_batch(changed).unwrap();
    drop(other);
    let length = fs::metadata(&path).unwrap().len();
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0x5a; length as usize - 4_096], 4_096)
        .unwrap();
    history.put(interval(20));
    wait_for(|| history.status().failures > 0);
    assert!(history.status().is_failing);
    history.put(interval(21));
    wait_for(|| history.status().writes == 2 && !history.status().is_failing);
    history.stop();
    assert_eq!(ids(directory.path()), [1, 2]);
}

#[test]
fn a_log_that_was_cut_gives_what_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(directory.path()).unwrap();
    for minute in 0..5 {
        writer.write(&interval(minute)).unwrap();
    }
    writer.checkpoint().unwrap();
    let mut ends = Vec::new();
    let log = directory.path().join("history.db-wal");
    for minute in 5..10 {
        writer.write(&interval(minute)).unwrap();
        ends.push(fs::metadata(&log).unwrap().len());
    }
    for (count, cut) in [(5, 100), (7, ends[1]), (7, ends[2] - 10), (10, ends[4])] {
        let copy = tempfile::tempdir().unwrap();
        for name in ["history.db", "history.db-wal"] {
            fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        let log = copy.path().join("history.db-wal");
        fs::OpenOptions::new()
            .write(true)
            .open(log)
            .unwrap()
            .set_len(cut)
            .unwrap();
        let history = History::start(options(copy.path()), || {}).unwrap();
        history.stop();
        assert_eq!(ids(copy.path()).len(), count, "cut at {cut} of {ends:?}");
        assert!(
            !files(copy.path())
                .iter()
                .any(|name| name.contains("damaged"))
        );
    }
}

#[test]
fn nothing_to_read_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let error = Reader::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Missing(_)), "{error:?}");
    let history = History::start(options(directory.path()), || {}).unwrap();
    history.stop();
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.extent().unwrap(), None);
    assert!(reader.places(Span::default()).unwrap().is_empty());
}

#[test]
fn it_is_read_where_nothing_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a dir with ? and %");
    let history = History::start(options(&path), || {}).unwrap();
    history.put(interval(0));
    history.stop();
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(path.join(format!("history.db{suffix}")));
    }
    let Some(()) = read_only_mount(&path) else {
        eprintln!("skipped: takes root, to mount");
        return;
    };
    assert_eq!(ids(&path), [1]);
}

/// A read-only mount for this thread alone. `None` if that is not permitted.
fn read_only_mount(path: &Path) -> Option<()> {
    full_disk::private_mounts()?;
    full_disk::mount_again_read_only(path);
    Some(())
}

/// Other times can still be read, and `serve` goes on with the file: it checks the file's structure only.
#[test]
fn a_word_that_is_not_known_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    kept(directory.path(), (0..3).map(interval));
    let path = database::path_in(directory.path());
    let connection = Connection::open(&path).unwrap();
    let changed = connection.execute(
        "UPDATE destination_row SET side = 'both' WHERE interval_id = 2",
        [],
    );
    assert!(changed.unwrap() > 0);
    drop(connection);
    let mut reader = Reader::open(directory.path()).unwrap();
    let places = reader.places(Span::default()).unwrap();
    assert!(reader.interval(&places[0]).is_ok());
    let error = reader.interval(&places[1]).unwrap_err();
    assert!(
        matches!(error, StoreError::UnknownValue { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("--since"), "{error}");
    let history = History::start(options(directory.path()), || {}).unwrap();
    history.put(interval(3));
    history.stop();
    assert_eq!(ids(directory.path()), [1, 2, 3, 4]);
}
