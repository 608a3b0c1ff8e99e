//! Puts the eBPF object where the program includes it from: `OUT_DIR/twtrace-bpf`.
//!
//! `cargo xtask build` names the object in TWTRACE_BPF_OBJECT. Without it the file is empty, so that plain
//! `cargo build`, `clippy` and `test` work; the program then says that it was built without its probes.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=TWTRACE_BPF_OBJECT");
    println!("cargo::rerun-if-changed=build.rs");
    let out = Path::new(&env::var("OUT_DIR")?).join("twtrace-bpf");
    match env::var_os("TWTRACE_BPF_OBJECT") {
        Some(object) => {
            let object = Path::new(&object);
            println!("cargo::rerun-if-changed={}", object.display());
            fs::copy(object, &out).map_err(|e| format!("can't copy {}: {e}", object.display()))?;
        }
        None => fs::write(&out, [])?,
    }
    Ok(())
}
