//! `cargo xtask setup`: a compiler for eBPF with the source of its `core`, and a linker that speaks the
//! same LLVM. Two kinds of machine are served: rustup's nightly with rust-src, and a system's own compiler
//! with its source package. Found once, the choice is kept in a stamp file, so that later calls cost only
//! a few file lookups.

mod compiler;
mod linker;
mod stamp;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub use compiler::Origin;

use crate::workspace::Workspace;
use compiler::Compiler;

/// What the eBPF side is built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfToolchain {
    /// Where the compiler is from.
    pub origin: Origin,
    /// The compiler.
    pub rustc: PathBuf,
    /// The cargo that drives it.
    pub cargo: PathBuf,
    /// `library/core` of the same version.
    pub core: PathBuf,
    /// Major version of the compiler's LLVM.
    pub llvm_major: u32,
    /// bpf-linker.
    pub linker: PathBuf,
    /// Why this one and no other, for the user.
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

/// Looks again at everything, installs what is missing, and says what was chosen.
///
/// # Errors
/// As [`ensure`].
pub fn verb(workspace: &Workspace) -> Result<()> {
    let toolchain = search_and_install(workspace)?;
    stamp::write(workspace, &toolchain)?;
    toolchain.announce();
    Ok(())
}

/// The toolchain: the one found last time if it is still there, else as [`verb`] does.
///
/// # Errors
/// When something is missing and can't be installed; the error has the commands to type.
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

fn search_and_install(workspace: &Workspace) -> Result<BpfToolchain> {
    let (compiler, reason) = match choose(workspace) {
        Ok(choice) => choice,
        Err(missing) => {
            eprintln!("no eBPF compiler yet: {missing}");
            install_compiler()?;
            choose(workspace).map_err(|still| {
                anyhow::anyhow!(
                    "no eBPF compiler even after installing one: {still}; {}",
                    by_hand()
                )
            })?
        }
    };
    let linker = match linker::find(workspace, compiler.llvm_major) {
        linker::Search::Found(path) => path,
        linker::Search::Missing(why) => {
            eprintln!("{why}");
            linker::install(workspace, &compiler)?
        }
    };
    Ok(BpfToolchain {
        origin: compiler.origin,
        rustc: compiler.rustc,
        cargo: compiler.cargo,
        core: compiler.core,
        llvm_major: compiler.llvm_major,
        linker,
        reason,
    })
}

/// The compiler to use and why; the error says why there is none.
fn choose(workspace: &Workspace) -> Result<(Compiler, String), String> {
    match (compiler::rustup_nightly(), compiler::system()) {
        (Ok(nightly), Ok(system)) => {
            // Both would do; the one whose linker is here already saves the user a build.
            let has_linker = |c: &Compiler| {
                matches!(
                    linker::find(workspace, c.llvm_major),
                    linker::Search::Found(_)
                )
            };
            if !has_linker(&nightly) && has_linker(&system) {
                Ok((
                    system,
                    "chosen because its linker is here (rustup's nightly would do too)".into(),
                ))
            } else {
                Ok((
                    nightly,
                    "chosen because rustup's nightly has rust-src".into(),
                ))
            }
        }
        (Ok(nightly), Err(_)) => Ok((
            nightly,
            "chosen because rustup's nightly has rust-src".into(),
        )),
        (Err(why), Ok(system)) => Ok((
            system,
            format!("chosen because the system has it with its source, and {why}"),
        )),
        (Err(no_nightly), Err(no_system)) => Err(format!("{no_nightly}, and {no_system}")),
    }
}

/// By apt where that can be done, else by rustup.
fn install_compiler() -> Result<()> {
    let by_apt = match compiler::apt_packages() {
        Ok(packages) => match crate::apt::install(&packages) {
            Ok(()) => return Ok(()),
            Err(error) => format!("{error:#}"),
        },
        Err(error) => format!("{error:#}"),
    };
    eprintln!("apt can't help here: {by_apt}");
    let Some(rustup) = crate::process::find_program("rustup") else {
        bail!(
            "no compiler for eBPF, and no rustup to install one; {}",
            by_hand()
        );
    };
    crate::process::run(std::process::Command::new(rustup).args(compiler::RUSTUP_INSTALL))
        .with_context(by_hand)
}

/// The commands for a user whose machine xtask can't change.
fn by_hand() -> String {
    format!(
        "by hand, either: rustup {}; or on Debian as root: {}; then: {}",
        compiler::RUSTUP_INSTALL.join(" "),
        crate::apt::install_line(&["rustc-web", "rust-web-src", "llvm-22-dev"].map(str::to_owned)),
        linker::install_line(22),
    )
}
