//! bpf-linker: it links LLVM bitcode, so its LLVM must have the compiler's major version.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::compiler::{Compiler, LLVM_IN_LINKER};
use crate::{
    apt,
    process::{find_program, is_root, output, run},
    workspace::{Workspace, outer_cargo},
};

/// The version of bpf-linker to install if there is none.
const VERSION: &str = "0.13.0";

/// Result of the search for the linker.
#[derive(Debug)]
pub enum Search {
    /// One that fits, or whose LLVM is unknown.
    Found(PathBuf),
    /// None that fits, and why.
    Missing(String),
}

/// Searches the directories where cargo and users install bpf-linker.
pub fn find(workspace: &Workspace, llvm_major: u32) -> Search {
    let mut misfits = Vec::new();
    let candidates = [
        Some(private_root(workspace).join("bin/bpf-linker")),
        find_program("bpf-linker"),
        cargo_home().map(|home| home.join("bin/bpf-linker")),
    ];
    for path in candidates
        .into_iter()
        .flatten()
        .filter(|path| path.is_file())
    {
        match llvm_of(&path) {
            Some(other) if other != llvm_major => {
                misfits.push(format!("{} links LLVM {other}", path.display()));
            }
            _ => return Search::Found(path),
        }
    }
    Search::Missing(match misfits.as_slice() {
        [] => "no bpf-linker in PATH or in cargo's bin directory".to_owned(),
        some => format!("no bpf-linker for LLVM {llvm_major}: {}", some.join(", ")),
    })
}

/// Installs bpf-linker for the compiler's LLVM and returns its path.
///
/// # Errors
/// If it can't be built; the error has the commands to type.
pub fn install(workspace: &Workspace, compiler: &Compiler) -> Result<PathBuf> {
    let llvm = compiler.llvm_major;
    // Debian keeps each major version in a directory of its own.
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    if !has_llvm(&prefix, llvm) && apt::is_here() {
        apt::install(&[format!("llvm-{llvm}-dev")]).with_context(|| {
            format!(
                "bpf-linker needs LLVM {llvm} to build; {}",
                alternatives(llvm)
            )
        })?;
    }
    let mut command = Command::new(outer_cargo());
    command.args(["install", "bpf-linker", "--version", VERSION, "--locked"]);
    if LLVM_IN_LINKER.contains(&llvm) {
        command.args([
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm}"),
        ]);
    }
    if prefix.join("bin/llvm-config").exists() {
        command.env("LLVM_PREFIX", &prefix);
    }
    for variable in [
        "RUSTC",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(variable);
    }
    // A linker for another LLVM belongs to another project: leaves it, and installs ours in a private directory.
    let taken = cargo_home().is_none_or(|home| home.join("bin/bpf-linker").exists());
    if taken {
        command.arg("--root").arg(private_root(workspace));
    }
    eprintln!("installing bpf-linker {VERSION} for LLVM {llvm} (about a minute)");
    run(&mut command)
        .with_context(|| format!("can't install bpf-linker; {}", alternatives(llvm)))?;
    match find(workspace, llvm) {
        Search::Found(path) => Ok(path),
        Search::Missing(why) => anyhow::bail!("installed bpf-linker, but {why}"),
    }
}

/// Whether this LLVM is installed for building: the one in PATH may be another.
fn has_llvm(prefix: &Path, major: u32) -> bool {
    prefix.join("bin/llvm-config").exists()
        || find_program("llvm-config")
            .and_then(|program| output(Command::new(program).arg("--version")).ok())
            .is_some_and(|version| version.split('.').next() == Some(&major.to_string()))
}

/// The command that installs it by hand.
pub fn install_line(llvm: u32) -> String {
    format!(
        "LLVM_PREFIX=/usr/lib/llvm-{llvm} cargo install bpf-linker --version {VERSION} --locked \
         --no-default-features --features llvm-{llvm}"
    )
}

fn alternatives(llvm: u32) -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    format!(
        "by hand: {sudo}apt-get install -y llvm-{llvm}-dev && {}; or without LLVM: cargo binstall bpf-linker",
        install_line(llvm)
    )
}

/// Directory of xtask's own linker.
fn private_root(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

fn cargo_home() -> Option<PathBuf> {
    match env::var_os("CARGO_HOME") {
        Some(home) => Some(PathBuf::from(home)),
        None => Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")),
    }
}

/// The major version of the LLVM that it loads, from the library's name in the file; a static linker contains none.
fn llvm_of(linker: &Path) -> Option<u32> {
    llvm_in(&fs::read(linker).ok()?)
}

fn llvm_in(bytes: &[u8]) -> Option<u32> {
    const NAMES: [&[u8]; 2] = [b"libLLVM.so.", b"libLLVM-"];
    NAMES.iter().find_map(|name| {
        bytes
            .windows(name.len())
            .enumerate()
            .filter(|(_, window)| window == name)
            .find_map(|(at, _)| {
                let digits: String = bytes[at + name.len()..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .map(|byte| char::from(*byte))
                    .collect();
                digits.parse().ok()
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_llvm_is_read_from_the_library_it_names() {
        assert_eq!(llvm_in(b"\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(llvm_in(b"\0libLLVM-19.so.1\0"), Some(19));
        assert_eq!(llvm_in(b"libLLVM-C\0libLLVM-21"), Some(21));
        assert_eq!(llvm_in(b"nothing"), None);
    }
}
