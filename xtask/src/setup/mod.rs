//! `cargo xtask setup`: a compiler for eBPF with its `core` or the source of it, and a linker with the same LLVM
//! version. Two kinds of machines are supported: rustup's nightly with rust-src, and a system's own compiler with its
//! source package. The choice is kept in a stamp file, so that later calls need only a few file lookups.

mod bpf_core;
mod compiler;
mod linker;
mod stamp;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub use self::{
    bpf_core::{Core, TARGET},
    compiler::Origin,
};

use crate::workspace::Workspace;
use compiler::Compiler;

/// What the eBPF side is built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfToolchain {
    pub origin: Origin,
    /// The compiler.
    pub rustc: PathBuf,
    /// The cargo that drives it.
    pub cargo: PathBuf,
    /// `core` of the same version.
    pub core: Core,
    /// Major version of the compiler's LLVM.
    pub llvm_major: u32,
    /// bpf-linker.
    pub linker: PathBuf,
    /// Why this one was chosen, for the user.
    pub reason: String,
}

impl BpfToolchain {
    fn announce(&self) {
        eprintln!(
            "eBPF: {} (LLVM {}), linker {}; {}",
            self.rustc.display(),
            self.llvm_major,
            self.linker.display(),
            self.reason
        );
    }
}

/// Checks everything again, installs what is missing, and prints the choice.
///
/// # Errors
/// As [`ensure`].
pub fn verb(workspace: &Workspace) -> Result<()> {
    let toolchain = search_and_install(workspace)?;
    stamp::write(workspace, &toolchain)?;
    toolchain.announce();
    Ok(())
}

/// The toolchain: the last choice if it still exists, otherwise as [`verb`] does.
///
/// # Errors
/// If something is missing and can't be installed; the error has the commands to type.
pub fn ensure(workspace: &Workspace) -> Result<BpfToolchain> {
    let toolchain = match stamp::read(workspace) {
        Some(known) => known,
        None => {
            let found = search_and_install(workspace)?;
            stamp::write(workspace, &found)?;
            found
        }
    };
    toolchain.announce();
    Ok(toolchain)
}

/// A compiler and why it was chosen.
type Choice = (Compiler, String);

/// What is installed comes first, then what can be installed. A compiler without a linker for its LLVM is useless
/// (rustup's nightly is often ahead of the LLVM that a distribution packages), so the search continues.
fn search_and_install(workspace: &Workspace) -> Result<BpfToolchain> {
    let (present, mut failures) = present();
    if let Some((choice, linker)) =
        present.iter().find_map(
            |choice| match linker::find(workspace, choice.0.llvm_major) {
                linker::Search::Found(path) => Some((choice, path)),
                linker::Search::Missing(_) => None,
            },
        )
    {
        let (compiler, reason) = choice;
        return Ok(toolchain(compiler, reason.clone(), linker));
    }
    if present.is_empty() {
        eprintln!("no eBPF compiler yet: {}", failures.join(", and "));
    }
    for (compiler, reason) in &present {
        match linker_for(workspace, compiler) {
            Ok(linker) => return Ok(toolchain(compiler, reason.clone(), linker)),
            Err(error) => failures.push(print_failure(&error)),
        }
    }
    let ways: [fn() -> Result<Choice>; 3] = [by_apt, by_rust_src, by_rustup];
    for install in ways {
        let attempt = install().and_then(|(compiler, reason)| {
            let linker = linker_for(workspace, &compiler)?;
            Ok(toolchain(&compiler, reason, linker))
        });
        match attempt {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => failures.push(print_failure(&error)),
        }
    }
    bail!(
        "no toolchain for eBPF: {}; {}",
        failures.join("; "),
        by_hand()
    )
}

/// Prints an error at once: the next steps may take minutes.
fn print_failure(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    eprintln!("{text}; trying the next way");
    text
}

/// The installed compilers, and why others are unsuitable.
fn present() -> (Vec<Choice>, Vec<String>) {
    let mut choices = Vec::new();
    let mut failures = Vec::new();
    for (found, reason) in [
        (
            compiler::rustup_nightly(),
            "chosen because rustup's nightly has rust-src",
        ),
        (
            compiler::system(),
            "chosen because the system has it with its core for eBPF, or the source of that",
        ),
    ] {
        match found {
            Ok(compiler) => choices.push((compiler, reason.to_owned())),
            Err(why) => failures.push(why),
        }
    }
    (choices, failures)
}

fn linker_for(workspace: &Workspace, compiler: &Compiler) -> Result<PathBuf> {
    match linker::find(workspace, compiler.llvm_major) {
        linker::Search::Found(path) => Ok(path),
        linker::Search::Missing(why) => {
            eprintln!("{why}");
            linker::install(workspace, compiler)
        }
    }
}

fn toolchain(compiler: &Compiler, reason: String, linker: PathBuf) -> BpfToolchain {
    BpfToolchain {
        origin: compiler.origin,
        rustc: compiler.rustc.clone(),
        cargo: compiler.cargo.clone(),
        core: compiler.core.clone(),
        llvm_major: compiler.llvm_major,
        linker,
        reason,
    }
}

/// The distribution's compiler, which matches its LLVM.
fn by_apt() -> Result<Choice> {
    let help = "apt has no compiler for eBPF here";
    let packages = compiler::apt_packages().context(help)?;
    crate::apt::install(&packages).context(help)?;
    let compiler = compiler::system().map_err(anyhow::Error::msg)?;
    Ok((
        compiler,
        format!("installed by apt ({})", packages.join(", ")),
    ))
}

/// The source for an installed nightly: a smaller change than another nightly.
fn by_rust_src() -> Result<Choice> {
    rustup(&compiler::RUSTUP_ADD_SOURCE)?;
    let compiler = compiler::rustup_nightly().map_err(anyhow::Error::msg)?;
    Ok((compiler, "rustup added rust-src to its nightly".to_owned()))
}

fn by_rustup() -> Result<Choice> {
    rustup(&compiler::RUSTUP_INSTALL)?;
    let compiler = compiler::rustup_nightly().map_err(anyhow::Error::msg)?;
    Ok((compiler, "rustup installed its nightly".to_owned()))
}

fn rustup(arguments: &[&str]) -> Result<()> {
    let Some(rustup) = crate::process::find_program("rustup") else {
        bail!("there is no rustup");
    };
    crate::process::run(std::process::Command::new(rustup).args(arguments))
}

/// The commands for a user whose machine xtask can't change.
fn by_hand() -> String {
    format!(
        "by hand, either: rustup {}; or on Debian as root: {}; then: {}",
        compiler::RUSTUP_INSTALL.join(" "),
        crate::apt::install_line(
            &["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev"].map(str::to_owned)
        ),
        linker::install_line(22),
    )
}
