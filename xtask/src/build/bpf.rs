//! The eBPF object: builds it, measures its stack, removes its DWARF.

use std::{os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use super::{FLAG_SEPARATOR, Parts, without_own_paths};
use crate::{
    process::run,
    setup::{BpfToolchain, Core, Origin, TARGET},
    stack_depth, strip,
    workspace::Workspace,
};

/// Builds the object that the program contains.
///
/// # Errors
/// If the build fails, or the programs may need more stack than the kernel allows; for [`Parts::Program`], which users
/// build with unknown compilers, the latter is only a warning.
pub fn object(workspace: &Workspace, toolchain: &BpfToolchain, parts: Parts) -> Result<()> {
    let object = compile(workspace, toolchain)?;
    match (stack_depth::check(&object), parts) {
        (Ok(()), _) => {}
        // Other compilers use the stack differently, and the kernel here may be a later one.
        (Err(error), Parts::Program) => eprintln!("warning: {error:#}"),
        (Err(error), _) => return Err(error),
    }
    strip::strip(&object)
}

/// Path of the program's object.
pub fn object_path(workspace: &Workspace) -> PathBuf {
    strip::path(&path(workspace))
}

/// A separate directory: in the common one, the other compiler would cause both to be rebuilt each time.
fn target(workspace: &Workspace) -> PathBuf {
    workspace.target.join("bpf")
}

fn path(workspace: &Workspace) -> PathBuf {
    target(workspace).join(TARGET).join("bpf/twtrace-bpf")
}

/// The libraries are built in parallel, which takes longer: at the same priority they would end after one CPU has been
/// idle for a while.
fn yield_to_others(command: &mut Command) {
    const NICE: i32 = 10;
    // SAFETY: nice() is async-signal-safe, so it may be called between fork and exec; it may fail.
    unsafe {
        command.pre_exec(|| {
            libc::nice(NICE);
            Ok(())
        });
    }
}

fn compile(workspace: &Workspace, toolchain: &BpfToolchain) -> Result<PathBuf> {
    let target = target(workspace);
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        "-Clink-arg=--btf".to_owned(),
        // Otherwise every array that is cleared becomes a call of memset(), which works byte by byte.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
    ];
    // It has debug info, for BTF.
    flags.extend(without_own_paths(workspace));
    let mut command = workspace.clean_cargo(&toolchain.cargo);
    command
        .args([
            "build",
            "--locked",
            "--package",
            "probe-ebpf",
            "--profile",
            "bpf",
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target)
        .env("RUSTC", &toolchain.rustc)
        // The programs are built in parallel: the progress bar is theirs.
        .env("CARGO_TERM_QUIET", "true")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR));
    if let Core::Source(_) = toolchain.core {
        command.arg("-Zbuild-std=core");
    }
    if toolchain.origin == Origin::System {
        // Needed with a stable compiler: build-std and the language features that the programs use are nightly
        // features.
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    yield_to_others(&mut command);
    run(&mut command).with_context(|| {
        format!(
            "can't build the eBPF side (if the linker is at fault: {} must link LLVM {}, as {} does)",
            toolchain.linker.display(),
            toolchain.llvm_major,
            toolchain.rustc.display()
        )
    })?;
    let object = path(workspace);
    ensure!(object.is_file(), "the build left no {}", object.display());
    Ok(object)
}
