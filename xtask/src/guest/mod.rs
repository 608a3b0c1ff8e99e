//! Virtual machines with stock Debian kernels: fetches a kernel, packs an initramfs, boots it.

pub mod boot;
mod cpio;
mod initramfs;
pub mod kernels;
mod libraries;
mod mirror;
mod modules;
mod protocol;
mod qemu;
pub mod tools;

pub use initramfs::OTHER_TWTRACE;
pub use mirror::machine_source;
pub use qemu::{Accelerator, CPUS, NoLine, RunningGuest, bare};
