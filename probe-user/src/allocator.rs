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
