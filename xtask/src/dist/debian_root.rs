//! Clean Debian roots from mmdebstrap: built once and kept as tarballs in the target directory. To get a newer one,
//! remove the file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    guest::{machine_source, tools},
    process::{is_root, run},
    workspace::Workspace,
};

/// The Debian release that packages are tested on.
const SUITE: &str = "bookworm";

/// What a root contains besides the base system.
#[derive(Debug)]
pub struct Recipe {
    /// Name of its tarball.
    pub name: &'static str,
    /// Packages to install.
    pub packages: &'static [&'static str],
}

/// The tarball of a root, which is built if needed.
///
/// # Errors
/// If this is not root, or mmdebstrap fails.
pub fn tarball(workspace: &Workspace, recipe: &Recipe) -> Result<PathBuf> {
    ensure!(
        is_root(),
        "a Debian root is made and unpacked as root: run this by sudo"
    );
    tools::ensure_for_debian_roots()?;
    let directory = workspace.target.join("debian-roots");
    fs::create_dir_all(&directory)
        .with_context(|| format!("can't make {}", directory.display()))?;
    let path = directory.join(format!("{SUITE}-{}.tar", recipe.name));
    let packages = recipe.packages.join(",");
    let made_of = path.with_extension("packages");
    if path.is_file() && fs::read_to_string(&made_of).is_ok_and(|text| text == packages) {
        return Ok(path);
    }
    let unfinished = path.with_extension("unfinished.tar");
    run(Command::new("mmdebstrap")
        .args(["--variant=minbase", "--mode=root"])
        .arg(format!("--include={}", packages))
        .arg(SUITE)
        .arg(&unfinished)
        .arg(machine_source(None, SUITE)?))?;
    fs::rename(&unfinished, &path)?;
    fs::write(&made_of, &packages)?;
    Ok(path)
}

/// Unpacks a root into a directory, which is emptied before.
pub fn unpack(tarball: &Path, into: &Path) -> Result<()> {
    if into.exists() {
        fs::remove_dir_all(into).with_context(|| format!("can't empty {}", into.display()))?;
    }
    fs::create_dir_all(into)?;
    run(Command::new("tar")
        .args(["--extract", "--numeric-owner", "--xattrs"])
        .arg("--file")
        .arg(tarball)
        .arg("--directory")
        .arg(into))
}
