//! The kernel's tracing file system.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Path of tracefs, which is mounted if needed.
///
/// # Errors
/// If it can't be mounted.
pub fn ensure() -> io::Result<PathBuf> {
    /// Several threads may need it at the same time.
    static MOUNTING: Mutex<()> = Mutex::new(());
    let _mounting = MOUNTING.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The id of a tracepoint for perf.
///
/// # Errors
/// If there is none of this name.
pub fn tracepoint_id(category: &str, name: &str) -> io::Result<u64> {
    let path = ensure()?.join(format!("events/{category}/{name}/id"));
    let text = std::fs::read_to_string(path)?;
    text.trim().parse().map_err(io::Error::other)
}
