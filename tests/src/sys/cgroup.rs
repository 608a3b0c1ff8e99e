//! Cgroups, in all mounted hierarchies.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::check;

/// How long the kernel may take until a cgroup has no process any more.
const EMPTY_LIMIT: Duration = Duration::from_secs(10);

/// Version of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The cgroup v2 hierarchy.
    V2,
    /// The v1 hierarchy with the controller `pids`.
    V1,
}

impl Version {
    fn is(self, fstype: &str, options: &str) -> bool {
        match self {
            Self::V2 => fstype == "cgroup2",
            Self::V1 => fstype == "cgroup" && options.split(',').any(|option| option == "pids"),
        }
    }
}

/// Where the root of a hierarchy is mounted.
///
/// # Errors
/// If /proc can't be read.
pub fn mounted(version: Version) -> io::Result<Option<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let point = text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (fstype, options) = (right.next()?, right.nth(1)?);
        (root == "/" && version.is(fstype, options)).then(|| PathBuf::from(point))
    });
    Ok(point)
}

/// Moves the calling thread into a mount namespace of its own; its mounts stay in there.
pub fn enter_own_mounts() -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let nothing = std::ptr::null();
    // SAFETY: the target is a C string; the other pointers may be null.
    check(unsafe {
        libc::mount(
            nothing,
            c"/".as_ptr(),
            nothing,
            libc::MS_REC | libc::MS_PRIVATE,
            nothing.cast(),
        )
    })?;
    Ok(())
}

/// Mounts the v1 hierarchy that has the controller `pids`.
///
/// # Errors
/// errno of mount(): ENODEV if this kernel has no v1, EBUSY if v2 uses the controller.
pub fn mount_v1(point: &Path) -> io::Result<()> {
    let point = CString::new(point.as_os_str().as_bytes())?;
    // SAFETY: all pointers are to C strings that live through the call.
    check(unsafe {
        libc::mount(
            c"cgroup".as_ptr(),
            point.as_ptr(),
            c"cgroup".as_ptr(),
            0,
            c"pids".as_ptr().cast(),
        )
    })?;
    Ok(())
}

/// Moves a process into a cgroup.
///
/// # Errors
/// errno of the write.
pub fn enter(cgroup: &Path, pid: i32) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), pid.to_string())
}

/// Removes a cgroup and all in it, once they contain no process.
///
/// # Errors
/// If they still contain one after a while.
pub fn remove(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    let end = Instant::now() + EMPTY_LIMIT;
    loop {
        match fs::remove_dir(cgroup) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < end => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}
