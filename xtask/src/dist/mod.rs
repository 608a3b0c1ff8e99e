//! `cargo xtask dist`: builds what users get: a Debian package, a tarball with the static binary, checksums, and a list
//! of the contents (SBOM).

mod check;
mod components;
mod deb;
mod debian_root;
mod disk;
mod in_guest;
mod in_root;
mod licences;
#[cfg(test)]
mod manifest_tests;
mod material;
mod sbom;
mod snapshot;
mod staging;
mod tarball;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;

use self::material::Material;
use crate::{
    build::{self, Parts, Profile},
    guest::tools,
    process::run,
    workspace::Workspace,
};

/// Options of `cargo xtask dist`.
#[derive(Args)]
pub struct DistArgs {
    /// Pack what tests test, which is quick to build, in the place of what users run; into a directory of its own
    #[arg(long)]
    quick: bool,
    /// Look into what was made: contents, owners, checksums, and whether making it again gives the same bytes
    #[arg(long)]
    check: bool,
    /// Install, use, remove and purge the package in a clean Debian root (as root)
    #[arg(long)]
    test_root: bool,
    /// Boot a Debian with systemd under QEMU, and try the package there as a service (as root)
    #[arg(long)]
    test_guest: bool,
}

#[derive(Debug)]
pub struct Artifacts {
    pub directory: PathBuf,
    /// The Debian package.
    pub deb: PathBuf,
    /// The tarball.
    pub tarball: PathBuf,
    /// The contents, as CycloneDX JSON.
    pub sbom: PathBuf,
    /// SHA-256 of the other files.
    pub sums: PathBuf,
}

/// Builds, packs, and prints the paths of the packages.
///
/// # Errors
/// If a build or a tool fails, or a check finds an error.
pub fn verb(workspace: &Workspace, args: &DistArgs) -> Result<ExitCode> {
    tools::ensure_for_packages()?;
    let twtrace = if args.quick {
        quick(workspace)?
    } else {
        build::everything(workspace, Profile::Release, Parts::Program)?.twtrace()
    };
    let artifacts = make(workspace, &twtrace, args)?;
    for path in [
        &artifacts.deb,
        &artifacts.tarball,
        &artifacts.sbom,
        &artifacts.sums,
    ] {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The build for tests, without its debug information, like users' programs.
fn quick(workspace: &Workspace) -> Result<PathBuf> {
    let binaries = build::everything(workspace, Profile::Quick, Parts::ProgramAndTests)?;
    let stripped = workspace.target.join("twtrace-stripped");
    let mut strip = Command::new("strip");
    strip.arg("-o").args([&stripped, &binaries.twtrace()]);
    run(&mut strip)?;
    Ok(stripped)
}

fn make(workspace: &Workspace, twtrace: &Path, args: &DistArgs) -> Result<Artifacts> {
    let material = Material::collect(workspace, twtrace)?;
    let name = if args.quick { "dist-quick" } else { "dist" };
    let artifacts = assemble(&material, &workspace.target.join(name))?;
    if args.check {
        check::contents(&material, &artifacts)?;
        let again = workspace.target.join(format!("{name}-again"));
        check::same_bytes_again(&material, &artifacts, &again)?;
    }
    if args.test_root {
        in_root::play(workspace, &artifacts)?;
    }
    if args.test_guest {
        in_guest::play(workspace, &artifacts)?;
    }
    Ok(artifacts)
}

/// Creates all files again in a directory, which is emptied before.
fn assemble(material: &Material<'_>, directory: &Path) -> Result<Artifacts> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("can't empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))?;
    let sbom = directory.join(format!("{}.cdx.json", material.name()));
    fs::write(&sbom, &material.sbom).with_context(|| format!("can't write {}", sbom.display()))?;
    let deb = deb::build(material, directory)?;
    let tarball = tarball::build(material, directory)?;
    let sums = staging::write_sums(directory, &[&deb, &tarball, &sbom])?;
    Ok(Artifacts {
        directory: directory.to_owned(),
        deb,
        tarball,
        sbom,
        sums,
    })
}
