//! What twtrace loads into the kernel: thin programs, one for each hook, in front of one folder for each
//! topic, and below these what they share, in an order that `probe-user/src/kernel_side_tests.rs` keeps. Userspace
//! chooses which of them to load (`probe-user/src/probe/`).
//!
//! Kernel functions are named with the prototypes they have from 5.10 to 7.3; where those differ there
//! is one entry for each. A pointer argument travels as `u64`: all reading of kernel memory is by
//! bpf_probe_read_kernel with offsets from BTF.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// Atomic adds are written as instructions (maps/atomic.rs).
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a map's value passed by value is copied to the stack, which has 512 bytes"
)]

mod answers;
mod connections;
mod constants;
mod descendants;
mod events;
mod maps;
mod mini_sockets;
mod ports;
mod processes;
mod programs;
mod records;
mod resets;
mod slots;
mod sockets;
mod time_wait;
mod totals;
/// Helpers that read kernel memory are for GPL-compatible programs only; these are under the GPL too.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// For the host this is only ever checked (clippy), never run.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
