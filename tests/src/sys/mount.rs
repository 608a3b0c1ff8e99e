//! Mounts of a test's own.

use std::{
    ffi::{CStr, CString},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr,
};

use super::check;

/// A mount, removed when dropped.
pub struct Mount {
    point: CString,
}

impl Mount {
    /// A disk in memory.
    ///
    /// # Errors
    /// errno of mount().
    pub fn tmpfs(point: &Path, options: &str) -> io::Result<Self> {
        let options = CString::new(options)?;
        Self::new(c"tmpfs", point, Some(c"tmpfs"), 0, Some(&options))
    }

    /// A file or directory, shown in another place.
    ///
    /// # Errors
    /// errno of mount().
    pub fn bind(from: &CStr, point: &Path) -> io::Result<Self> {
        Self::new(from, point, None, libc::MS_BIND, None)
    }

    fn new(
        from: &CStr,
        point: &Path,
        kind: Option<&CStr>,
        flags: libc::c_ulong,
        options: Option<&CStr>,
    ) -> io::Result<Self> {
        let point = CString::new(point.as_os_str().as_bytes())?;
        // SAFETY: all texts are NUL-terminated and live for the length of the call; the last two may be null.
        check(unsafe {
            libc::mount(
                from.as_ptr(),
                point.as_ptr(),
                kind.map_or(ptr::null(), CStr::as_ptr),
                flags,
                options.map_or(ptr::null(), |options| options.as_ptr().cast()),
            )
        })?;
        Ok(Self { point })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // SAFETY: the text is NUL-terminated and lives for the length of the call.
        unsafe { libc::umount2(self.point.as_ptr(), libc::MNT_DETACH) };
    }
}
