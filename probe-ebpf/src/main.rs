//! What twtrace loads into the kernel. At the top are thin programs, one for each hook; below them one folder for each
//! topic; below these, what they share. `probe-user/src/kernel_side_tests.rs` keeps this order. Userspace chooses which
//! programs to load (`probe-user/src/probe/`).
//!
//! Kernel functions are named with the prototypes they have from 5.10 to 7.3; where those differ, each has its own
//! entry. A pointer argument is passed as `u64`: kernel memory is read at offsets from BTF, by bpf_probe_read_kernel or
//! guarded loads (`sockets/read.rs`).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// Atomic additions are written as instructions (maps/atomic.rs).
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
/// Helpers that read kernel memory are for GPL-compatible programs only; these programs are under the GPL, too.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// On the host this is only checked (clippy), never run.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
