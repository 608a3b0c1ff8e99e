//! Changes of map values that other CPUs change at the same time.

/// Adds to a shared 64-bit counter (two's complement, so that a minus one takes one away).
///
/// # Safety
/// `counter` is aligned and points into a map value.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, amount: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's promise. BPF_XADD: core has no atomic arithmetic for a target that can't
    // compare and swap before v3 of the instruction set.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({counter} + 0) += {amount}",
            counter = in(reg) counter,
            amount = in(reg) amount,
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's promise; only ever compiled to be checked.
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
    // SAFETY: the caller's promise.
    unsafe { add(counter, 1) }
}

/// Keeps the compiler from writing what stands after this before what stands before it; x86 keeps the order of stores.
#[inline(always)]
pub fn in_this_order() {
    #[cfg(target_arch = "bpf")]
    // SAFETY: no instruction. To the compiler it may read and write any memory.
    unsafe {
        core::arch::asm!("");
    }
}

/// Makes a slot its owner's if it is nobody's (0): with one instruction, since two CPUs may want it at once.
///
/// # Safety
/// `slot` is aligned and in a map value; this kernel has the instruction: see [`CLAIM_MARK`](twtrace_wire::CLAIM_MARK).
#[inline(always)]
pub unsafe fn claim(slot: *mut u64, owner: u64) -> bool {
    #[cfg(target_arch = "bpf")]
    {
        let before: u64;
        // SAFETY: the caller's promise. Userspace has put `lock cmpxchg` in the place of the call, which compares with r0;
        // a call's other registers are taken for lost.
        unsafe {
            core::arch::asm!(
                "r0 = 0",
                "call {mark}",
                mark = const twtrace_wire::CLAIM_MARK,
                inout("r1") slot => _,
                in("r3") owner,
                lateout("r0") before,
                lateout("r2") _,
                lateout("r3") _,
                lateout("r4") _,
                lateout("r5") _,
            );
        }
        before == 0
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's promise; only ever compiled to be checked.
    unsafe {
        *slot = owner;
        true
    }
}
