//! Changes to map values that other CPUs change at the same time.

/// Adds to a shared 64-bit counter. In two's complement: adding -1 subtracts one.
///
/// # Safety
/// `counter` is aligned and points into a map value.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, amount: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: guaranteed by the caller. BPF_XADD is written as an instruction: core has no atomic arithmetic for a
    // target without compare-and-swap, which the instruction set has from v3 on.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({counter} + 0) += {amount}",
            counter = in(reg) counter,
            amount = in(reg) amount,
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: guaranteed by the caller; only ever compiled for checks.
    unsafe {
        *counter = (*counter).wrapping_add(amount);
    }
}

/// Adds one to a shared 32-bit counter.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn increment_u32(counter: *mut u32) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: as for `add`.
    unsafe {
        core::arch::asm!(
            "lock *(u32 *)({counter} + 0) += {amount}",
            counter = in(reg) counter,
            amount = in(reg) 1_u64,
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: as for `add`.
    unsafe {
        *counter = (*counter).wrapping_add(1);
    }
}

/// Adds one to a shared counter.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn increment(counter: *mut u64) {
    // SAFETY: guaranteed by the caller.
    unsafe { add(counter, 1) }
}

/// Keeps the compiler from moving a later store before an earlier one; x86 keeps the order of stores.
#[inline(always)]
pub fn in_this_order() {
    #[cfg(target_arch = "bpf")]
    // SAFETY: emits no instruction. To the compiler it may read and write any memory.
    unsafe {
        core::arch::asm!("");
    }
}

/// Claims a slot for `owner` if it is free (0), by one instruction: two CPUs may try at once. Returns whether it was
/// free.
///
/// # Safety
/// As for [`exchange`].
#[inline(always)]
pub unsafe fn claim(slot: *mut u64, owner: u64) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { exchange(slot, 0, owner) }
}

/// Replaces the content of a slot if it is `before`, by one instruction. Returns whether it was.
///
/// # Safety
/// `slot` is aligned and in a map value; this kernel has the instruction: see [`CLAIM_MARK`](twtrace_wire::CLAIM_MARK).
#[inline(always)]
pub unsafe fn exchange(slot: *mut u64, before: u64, after: u64) -> bool {
    #[cfg(target_arch = "bpf")]
    {
        let found: u64;
        // SAFETY: guaranteed by the caller. Userspace has replaced the call by `lock cmpxchg`, which compares with r0.
        // The other registers of a call are declared clobbered.
        unsafe {
            core::arch::asm!(
                "call {mark}",
                mark = const twtrace_wire::CLAIM_MARK,
                inout("r0") before => found,
                inout("r1") slot => _,
                in("r3") after,
                lateout("r2") _,
                lateout("r3") _,
                lateout("r4") _,
                lateout("r5") _,
            );
        }
        found == before
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: guaranteed by the caller; only ever compiled for checks.
    unsafe {
        let is_before = *slot == before;
        *slot = after;
        is_before
    }
}
