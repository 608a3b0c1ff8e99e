//! The kernel's tracing file system.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Where it is, mounted if need be.
///
/// # Errors
/// When it can't be mounted.
pub fn ensure() -> io::Result<PathBuf> {
    let root = Path::new("/sys/kernel/tracing");
    for place in [root, Path::new("/sys/kernel/debug/tracing")] {
        if place.join("events").is_dir() {
            return Ok(place.to_path_buf());
        }
    }
    // SAFETY: all pointers are to C strings that live through the call, or null.
    let result = unsafe {
        libc::mount(
            c"tracefs".as_ptr(),
            c"/sys/kernel/tracing".as_ptr(),
            c"tracefs".as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    super::check(result)?;
    Ok(root.to_path_buf())
}
