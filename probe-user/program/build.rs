//! Says which file the program includes as its eBPF object.
//!
//! `cargo xtask build` names the object in TWTRACE_BPF_OBJECT; it need not be there until the program itself is compiled.
//! Without it an empty file stands for it, so that plain `cargo build`, `clippy` and `test` work; the program then says
//! that it was built without its probes.

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
