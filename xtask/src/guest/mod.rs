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

pub use qemu::Accelerator;
