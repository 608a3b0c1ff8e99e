//! The binary `twtrace`: the library, and the eBPF object.
//!
//! A package of its own, so that another object means linking again, and no compiling.

use std::process::ExitCode;

/// Empty in builds that did not go through `cargo xtask`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("OBJECT_FILE"));

fn main() -> ExitCode {
    twtrace::main(OBJECT)
}
