//! Prints which file the program includes as its eBPF object.
//!
//! `cargo xtask build` names the object in TWTRACE_BPF_OBJECT; it need not exist until the program itself is compiled.
//! Without the variable an empty file is used instead, so that plain `cargo build`, `clippy` and `test` work; the
//! program then reports that it was built without its probes.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=TWTRACE_BPF_OBJECT");
    println!("cargo::rerun-if-changed=build.rs");
    let object = match env::var_os("TWTRACE_BPF_OBJECT") {
        Some(object) => PathBuf::from(object),
        None => {
            let empty = Path::new(&env::var("OUT_DIR")?).join("no-object");
            fs::write(&empty, [])?;
            empty
        }
    };
    println!("cargo::rustc-env=OBJECT_FILE={}", object.display());
    Ok(())
}
