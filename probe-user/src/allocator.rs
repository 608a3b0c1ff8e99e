//! Memory that was used for a moment.

/// Gives what is free back to the system. To be called after what takes much for a moment, such as reading the
/// kernel's types: the allocator keeps the pieces otherwise, and they count for as long as the program runs.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
