//! Reads the kernel's structs, at offsets that userspace found in BTF, and its clock.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_kernel};
use twtrace_wire::{ABSENT, CAST_MARK};

use crate::constants::config;

/// Reads a `T` at a kernel address: integers only, at most a word or an array of words. Returns zeros on a fault.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> T {
    if config!(direct_reads) != 0 {
        // SAFETY: the kernel's just-in-time compiler guards the loads: a load that faults returns zero. Every bit
        // pattern is a valid integer.
        return unsafe { readable(base + offset as u64).cast::<T>().read() };
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is a local variable of the given size. The helper checks the source itself and writes
    // zeros if it cannot be read, so that the destination is always initialised.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + offset as u64) as *const _,
        );
        value.assume_init()
    }
}

/// Converts an address into a pointer that a program may read from. A read is then a plain load; the helper costs three
/// calls.
///
/// `void *bpf_rdonly_cast(const void *obj, u32 btf_id)`: for programs of any type, and since 6.17 without a BTF type.
/// The verifier replaces the call by a move.
#[inline(always)]
fn readable(address: u64) -> *const u8 {
    // SAFETY: a call by number, like those of the helpers; userspace has replaced the number.
    let cast: unsafe extern "C" fn(u64, u64) -> *const u8 =
        unsafe { core::mem::transmute(CAST_MARK as usize) };
    // SAFETY: the call has no side effects.
    unsafe { cast(address, 0) }
}

/// Whether a one-bit field is set, `bit` bits from an address. False if this kernel does not have the field.
#[inline(always)]
pub fn has_bit(address: u64, bit: u32) -> bool {
    bit != ABSENT && (read::<u8>(address, bit / 8) >> (bit % 8)) & 1 != 0
}

/// CLOCK_MONOTONIC, in nanoseconds.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: the helper takes no arguments and has no side effects.
    unsafe { bpf_ktime_get_ns() }
}
