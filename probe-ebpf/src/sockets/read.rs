//! Reading the kernel's structs, by the offsets that userspace found in BTF, and its clock.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_kernel};
use twtrace_wire::{ABSENT, CAST_MARK};

use crate::constants::config;

/// Reads a `T` (integers only, a word at most or an array of them) at a kernel address; all zero where that faults.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> T {
    if config!(direct_reads) != 0 {
        // SAFETY: the kernel's just-in-time compiler guards the loads: one that faults gives zero. Integers are valid
        // whatever they are.
        return unsafe { readable(base + offset as u64).cast::<T>().read() };
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is a local of the size given; the helper checks the source itself, and
    // fills the destination with zeros where it can't be read, so that it is always written.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + offset as u64) as *const _,
        );
        value.assume_init()
    }
}

/// An address that a program may read at, as it is: a load, where the helper is a call and two more.
///
/// `void *bpf_rdonly_cast(const void *obj, u32 btf_id)`: any type of program, and since 6.17 with no type at all. The
/// verifier puts a move in its place.
#[inline(always)]
fn readable(address: u64) -> *const u8 {
    // SAFETY: a call by number, as the helpers' are; userspace has replaced the number.
    let cast: unsafe extern "C" fn(u64, u64) -> *const u8 =
        unsafe { core::mem::transmute(CAST_MARK as usize) };
    // SAFETY: it does nothing.
    unsafe { cast(address, 0) }
}

/// Whether a bit field of one bit is set, at this many bits from an address. Not where the kernel does not have it.
#[inline(always)]
pub fn has_bit(address: u64, bit: u32) -> bool {
    bit != ABSENT && (read::<u8>(address, bit / 8) >> (bit % 8)) & 1 != 0
}

/// CLOCK_MONOTONIC, nanoseconds.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: no arguments, no effect.
    unsafe { bpf_ktime_get_ns() }
}
