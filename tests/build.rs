//! Builds the programs whose stacks are tested (`programs/`), each with and without what unwinding needs. A program
//! that can't be built (for want of a C compiler) becomes an empty file, and the tests that run it are skipped.

use std::{env, error::Error, fs, path::Path, process::Command};

const C: &[(&str, &[&str])] = &[
    (
        "frame_pointers",
        &[
            "-O1",
            "-fno-omit-frame-pointer",
            "-fno-asynchronous-unwind-tables",
        ],
    ),
    ("tables_only", &["-O2", "-fomit-frame-pointer"]),
    (
        "neither",
        &[
            "-O2",
            "-fomit-frame-pointer",
            "-fno-asynchronous-unwind-tables",
            "-fno-unwind-tables",
        ],
    ),
    ("static", &["-O1", "-fno-omit-frame-pointer", "-static"]),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=programs");
    let out = env::var("OUT_DIR")?;
    for (name, options) in C {
        let mut command = Command::new("cc");
        command.args(*options).args([
            "-fno-optimize-sibling-calls",
            "-pthread",
            "programs/closer.c",
            "-o",
        ]);
        build(command, &Path::new(&out).join(format!("closer_{name}")))?;
    }
    let mut command = Command::new("cc");
    command.args(["-O1", "-static", "programs/mapper.c", "-o"]);
    build(command, &Path::new(&out).join("mapper"))?;
    let mut command = Command::new(env::var("RUSTC")?);
    command
        .args(["--edition", "2024", "-O", "-C", "force-frame-pointers=yes"])
        // A guest has no libgcc_s.
        .args(["-C", "target-feature=+crt-static", "-C", "strip=none"])
        .args(["programs/closer.rs", "-o"]);
    build(command, &Path::new(&out).join("closer_rust"))
}

fn build(mut command: Command, program: &Path) -> Result<(), Box<dyn Error>> {
    let built = command.arg(program).status();
    if !built.is_ok_and(|status| status.success()) {
        println!("cargo::warning={command:?} failed: its checks of stacks will be skipped");
        fs::write(program, [])?;
    }
    Ok(())
}
