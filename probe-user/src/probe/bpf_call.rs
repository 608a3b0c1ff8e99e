//! The system call bpf(), for what aya has no way to.

use std::io;

/// Calls bpf() with a command of `enum bpf_cmd` and the part of `union bpf_attr` that it uses.
///
/// # Errors
/// Its errno.
///
/// # Safety
/// `attribute` is of the command's layout, and what it points to is there.
pub unsafe fn bpf<T>(command: libc::c_int, attribute: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise; the attribute's length is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attribute),
            size_of::<T>(),
        )
    };
    match result {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(result),
    }
}
