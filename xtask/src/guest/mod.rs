//! Virtual machines with stock Debian kernels: fetching a kernel, packing an initramfs, booting it.

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
