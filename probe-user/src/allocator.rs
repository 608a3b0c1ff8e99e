//! How memory is got from the system, and given back.

/// Large pieces are got from the system one by one, so that they grow without being copied and go when they are not
/// used any more. By itself the allocator learns from the first large piece that is freed to keep even larger ones
/// among the small, where each growth leaves a hole.
pub fn prepare() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// More than what is used and freed again and again: batches of records, frames of recordings.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 512 << 10;

/// Gives what is free back to the system. To be called after what takes much for a moment, such as reading the
/// kernel's types, and before the next such: the allocator keeps the pieces otherwise, and they count for as long as
/// the program runs.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
