//! Names that an untrusted user has prepared.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

/// Some user that is neither root nor the one of this process.
const OTHER: u32 = 65_534;

/// Gives a file, or a link, to another user; `None` without root.
pub fn give_away(path: &Path) -> Option<()> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with NUL.
    let result = unsafe { libc::lchown(path.as_ptr(), OTHER, OTHER) };
    if result != 0 {
        eprintln!("skipped: takes root, to give a file away");
    }
    (result == 0).then_some(())
}

pub fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn why(path: &Path) -> String {
    let place = Place::of(path).unwrap();
    place.open_existing().unwrap_err().to_string()
}

#[test]
fn a_place_stays_the_one_that_was_checked() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("own")).unwrap();
    fs::create_dir(at("other")).unwrap();
    symlink("own", at("link")).unwrap();
    let checked = Place::of(&at("link/x")).unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink(at("other"), at("link")).unwrap();
    let file = checked.create_new().unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o777, MODE);
    assert!(at("own/x").exists() && !at("other/x").exists());
    assert!(checked.create_new().is_err(), "it exists");
    assert!(Place::of(&at("link/x")).unwrap().create_new().is_ok());
    assert!(at("other/x").exists());
    checked.remove(&File::open(at("other/x")).unwrap());
    assert!(at("own/x").exists(), "another file");
    checked.remove(&file);
    assert!(!at("own/x").exists());
    assert!(!checked.is_for_all());
    fs::set_permissions(at("own"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!checked.is_for_all(), "others may remove it");
    fs::set_permissions(at("own"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(checked.is_for_all());
}

#[test]
fn what_is_not_a_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["/", "..", "", "x/"] {
        assert!(Place::of(Path::new(path)).is_err(), "{path}");
    }
    assert!(Place::of(&directory.path().join("none/x")).is_err());
    symlink("loop", directory.path().join("loop")).unwrap();
    assert!(Place::of(&directory.path().join("loop/x")).is_err());
    for path in ["x", "./x", "/proc/self/cwd/x", "/proc/self/x"] {
        assert!(Place::of(Path::new(path)).is_ok(), "{path}");
    }
}

#[test]
fn no_link_to_a_file_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("victim"), "kept").unwrap();
    symlink(at("victim"), at("link")).unwrap();
    symlink(at("none"), at("dangling")).unwrap();
    for name in ["link", "dangling"] {
        let place = Place::of(&at(name)).unwrap();
        let error = place.create_new().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let why = place.open_existing().unwrap_err().to_string();
        assert!(why.contains("symbolic link"), "{why}");
    }
    assert_eq!(fs::read(at("victim")).unwrap(), b"kept");
    assert!(!at("none").exists());
}

#[test]
fn no_link_of_another_user_leads_to_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("own")).unwrap();
    symlink(at("own"), at("link")).unwrap();
    assert!(Place::of(&at("link/x")).is_ok());
    if give_away(&at("link")).is_none() {
        return;
    }
    let why = Place::of(&at("link/x")).unwrap_err().to_string();
    assert!(why.contains("another user's symbolic link"), "{why}");
}

#[test]
fn files_of_others_and_with_a_second_name_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("own"), "").unwrap();
    Place::of(&at("own")).unwrap().open_existing().unwrap();
    fs::hard_link(at("own"), at("second")).unwrap();
    assert!(why(&at("second")).contains("another name"));
    fs::write(at("other"), "").unwrap();
    if give_away(&at("other")).is_some() {
        assert!(why(&at("other")).contains("another user"));
    }
}

#[test]
fn a_pipe_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    pipe(&path);
    assert!(why(&path).contains("nobody reads"));
    assert!(open_regular(&path).is_err());
    let reader = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    let writer = Place::of(&path).unwrap().open_existing().unwrap();
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETFL) };
    assert_eq!(flags & libc::O_NONBLOCK, 0, "a slow reader is waited for");
    drop((reader, writer));
    if give_away(&path).is_some() {
        let _reader = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path);
        assert!(why(&path).contains("another user"));
    }
}

#[test]
fn devices_and_own_streams_are_written_to() {
    for path in ["/dev/null", "/dev/full"] {
        Place::of(Path::new(path)).unwrap().open_existing().unwrap();
    }
    assert!(why(Path::new("/tmp")).contains("directory"));
    for path in ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2"] {
        let place = Place::of(Path::new(path)).unwrap();
        assert!(place.own_stream().unwrap().is_some(), "{path}");
    }
}

/// A duplicate with a number as bash passes for `>(command)`.
pub fn at_63(file: &File) -> (OwnedFd, [String; 2]) {
    // SAFETY: no pointers. The first free number from 63 on: other tests have descriptors too.
    let fd = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 63) };
    assert!(fd >= 63);
    // SAFETY: a descriptor that was created just now, without another owner.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let paths = ["/dev/fd", "/proc/self/fd"].map(|directory| format!("{directory}/{fd}"));
    (owned, paths)
}

#[test]
fn a_process_substitution_is_written_to() {
    let (mut reader, writer) = io::pipe().unwrap();
    let (_fd, paths) = at_63(&File::from(OwnedFd::from(writer)));
    for path in &paths {
        let place = Place::of(Path::new(path)).unwrap();
        let error = place.create_new().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let mut stream = place.open_existing().unwrap();
        io::Write::write_all(&mut stream, b"text").unwrap();
        let mut text = [0; 4];
        io::Read::read_exact(&mut reader, &mut text).unwrap();
        assert_eq!(&text, b"text");
    }
    let (_fd, paths) = at_63(&File::open("/dev/null").unwrap());
    assert!(why(Path::new(&paths[0])).contains("not open for writing"));
    assert!(why(Path::new("/dev/fd/1000000000")).contains("no such descriptor"));
    // A link beside it is not one of the process's own, whatever it leads to.
    let directory = tempfile::tempdir().unwrap();
    symlink("/proc/self/fd/1", directory.path().join("stdout")).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(why(&directory.path().join("stdout")).contains("symbolic link"));
}

#[test]
fn only_a_regular_file_itself_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let open = |name: &str| Place::of(&at(name)).unwrap().open_regular();
    fs::write(at("file"), "text").unwrap();
    let text = io::read_to_string(open("file").unwrap()).unwrap();
    assert_eq!(text, "text");
    // What the owner of the directory may have put there after a check.
    symlink(at("file"), at("link")).unwrap();
    symlink("/dev/null", at("device")).unwrap();
    pipe(&at("pipe"));
    for name in ["link", "device", "pipe"] {
        let error = open(name).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{name}: {error}");
    }
    assert!(open_regular(&at("link")).is_ok(), "as of a configuration");
}
