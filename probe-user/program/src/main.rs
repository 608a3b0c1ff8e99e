//! The binary `twtrace`: the library, and the eBPF object.
//!
//! A package of its own, so that another object only needs linking, not compiling.

use std::process::ExitCode;

/// Empty in builds without `cargo xtask`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("OBJECT_FILE"));

fn main() -> ExitCode {
    twtrace::main(OBJECT)
}
