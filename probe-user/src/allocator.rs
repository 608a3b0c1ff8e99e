//! Settings of the memory allocator.

/// Large blocks are mapped individually, so that they grow without copying and are returned when no longer used. By
/// default the allocator raises its threshold when the first large block is freed, and then keeps even larger ones in
/// the heap, where each growth leaves a hole.
pub fn prepare() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// Larger than what is used and freed many times: batches of records, frames of recordings.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 512 << 10;

/// Keeps free memory at the end of the heap, until [`give_back`] is called. For a process that may open nothing: before the
/// C library makes a heap of another thread smaller, it reads /proc/sys/vm/overcommit_memory.
pub fn keep_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions; a child process with one thread calls it.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// Returns free memory to the system. To be called after a step with a high memory peak, such as reading the kernel's
/// types, and before the next one: otherwise the allocator keeps the blocks, and they count as long as the program
/// runs.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
