//! A disk that is full.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use super::*;
use crate::place::tests::give_away;

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Gives this thread mounts of its own, which end with it. `None` if that is not permitted.
pub fn private_mounts() -> Option<()> {
    // SAFETY: no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return None;
    }
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the paths are NUL-terminated.
    let made = unsafe { libc::mount(ptr::null(), c"/".as_ptr(), ptr::null(), flags, ptr::null()) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    Some(())
}

pub fn mount_again_read_only(path: &Path) {
    for flags in [
        libc::MS_BIND,
        libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY,
    ] {
        let path = c(path);
        // SAFETY: the paths are NUL-terminated.
        let mounted = unsafe {
            libc::mount(
                path.as_ptr(),
                path.as_ptr(),
                ptr::null(),
                flags,
                ptr::null(),
            )
        };
        assert_eq!(mounted, 0, "{}", std::io::Error::last_os_error());
    }
}

fn mount_small_disk(path: &Path, size: &str) {
    let (path, options) = (
        c(path),
        CString::new(format!("mode=0700,size={size}")).unwrap(),
    );
    // SAFETY: all texts are NUL-terminated.
    let mounted = unsafe {
        libc::mount(
            c"tmpfs".as_ptr(),
            path.as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            options.as_ptr().cast(),
        )
    };
    assert_eq!(mounted, 0, "{}", std::io::Error::last_os_error());
}

/// Fills the disk.
fn fill(filler: &Path) {
    let mut size: usize = 2 << 20;
    while size >= 4_096 {
        let mut there = fs::read(filler).unwrap_or_default();
        there.resize(there.len() + size, 1);
        if fs::write(filler, &there).is_err() {
            size /= 2;
        }
    }
}

#[test]
fn it_begins_on_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    if private_mounts().is_none() {
        eprintln!("skipped: takes root, to mount");
        return;
    }
    mount_small_disk(directory.path(), "2m");
    kept(directory.path(), (0..3).map(interval));
    let filler = directory.path().join("filler");
    // The lock is taken first.
    drop(Lock::take(directory.path()).unwrap());
    fill(&filler);
    let history = History::start(options(directory.path()), || {}).unwrap();
    let failures = history.status().failures;
    history.put(interval(3));
    wait_for(|| history.status().failures > failures);
    assert!(history.status().is_failing);
    fs::remove_file(&filler).unwrap();
    history.put(interval(4));
    wait_for(|| !history.status().is_failing);
    history.stop();
    assert_eq!(ids(directory.path()).len(), 5);
}

#[test]
fn it_waits_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    if private_mounts().is_none() {
        eprintln!("skipped: takes root, to mount");
        return;
    }
    mount_small_disk(directory.path(), "2m");
    let history = History::start(options(directory.path()), || {}).unwrap();
    let put = |minute| {
        let before = history.status();
        history.put(interval(minute));
        wait_for(|| {
            let now = history.status();
            now.writes + now.failures > before.writes + before.failures
        });
        history.status()
    };
    assert!(!put(0).is_failing);
    // Another process fills the disk.
    let filler = directory.path().join("filler");
    fill(&filler);
    let mut minute = 1;
    while !put(minute).is_failing {
        minute += 1;
        assert!(minute < 100, "the disk is not full");
    }
    let failed = put(minute + 1);
    assert!(failed.is_failing && failed.failures >= 2 && failed.dropped == 0);
    // What was committed can still be read.
    assert_eq!(ids(directory.path()).len() as u64, failed.writes);
    fs::remove_file(&filler).unwrap();
    let resumed = put(minute + 2);
    wait_for(|| history.status().writes == minute + 3 && !history.status().is_failing);
    assert_eq!(resumed.dropped, 0);
    history.stop();
    assert_eq!(ids(directory.path()).len() as u64, minute + 3);
    let connection = Connection::open(database::path_in(directory.path())).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn what_waits_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history");
    let history = History::start(options(&path), || {}).unwrap();
    history.put(interval(0));
    wait_for(|| history.status().writes == 1);
    // From here on nothing can be opened in this directory.
    fs::remove_dir_all(&path).unwrap();
    for minute in 1..=35 {
        let before = history.status().failures;
        history.put(interval(minute));
        wait_for(|| history.status().failures > before);
    }
    assert_eq!(history.status().dropped, 5);
    fs::create_dir(&path).unwrap();
    history.put(interval(36));
    wait_for(|| !history.status().is_failing);
    history.stop();
    assert_eq!(ids(&path).len(), 30);
}

#[test]
fn it_begins_where_nothing_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    if private_mounts().is_none() {
        eprintln!("skipped: takes root, to mount");
        return;
    }
    let existing = directory.path().join("existing");
    fs::create_dir(&existing).unwrap();
    mount_again_read_only(directory.path());
    for path in [existing, directory.path().join("none")] {
        let history = History::start(options(&path), || {}).unwrap();
        assert!(history.status().is_failing && history.status().failures > 0);
        let failures = history.status().failures;
        history.put(interval(0));
        wait_for(|| history.status().failures > failures);
        history.stop();
    }
}

#[test]
fn it_begins_without_inodes() {
    let directory = tempfile::tempdir().unwrap();
    if private_mounts().is_none() {
        eprintln!("skipped: takes root, to mount");
        return;
    }
    // The root directory of the file system takes one.
    for inodes in 1..=5 {
        let path = directory.path().join(inodes.to_string());
        fs::create_dir(&path).unwrap();
        mount_small_disk(&path, &format!("2m,nr_inodes={inodes}"));
        let history = History::start(options(&path), || {}).unwrap();
        history.put(interval(0));
        wait_for(|| history.status().writes == 1 || history.status().failures > 1);
        // Lock, file, log, and the log's index.
        assert_eq!(history.status().is_failing, inodes < 5, "{inodes}");
        history.stop();
    }
}

#[test]
fn links_pipes_and_files_of_others_are_refused() {
    let refused = |directory: &Path| {
        let error = History::start(options(directory), || {}).unwrap_err();
        format!("{:#}", anyhow::Error::from(error))
    };
    for name in ["history.lock", "history.db"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::os::unix::fs::symlink("victim", &path).unwrap();
        let error = refused(directory.path());
        assert!(error.contains("symbolic link"), "{error}");
        assert!(!directory.path().join("victim").exists());
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let error = refused(directory.path());
        assert!(error.contains("not a regular file"), "{error}");
    }
    for name in ["history.lock", "history.db"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, "").unwrap();
        if give_away(&path).is_some() {
            let error = refused(directory.path());
            assert!(error.contains("another user"), "{error}");
        }
    }
}

#[test]
fn a_directory_for_all_has_a_history() {
    use std::os::unix::fs::PermissionsExt;
    // emptyDir, and /tmp.
    for mode in [0o777, 0o1777] {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        for written in 1..=2 {
            let history = History::start(options(directory.path()), || {}).unwrap();
            history.put(interval(written));
            wait_for(|| history.status().writes == 1);
            history.stop();
        }
        assert_eq!(ids(directory.path()).len(), 2);
        let file = fs::metadata(directory.path().join("history.db")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}
