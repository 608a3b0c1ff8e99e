//! Debian's package tools: installs packages on this machine, and reads what its sources offer.

pub mod sources;

use std::{
    fs,
    io::{self, IsTerminal},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::process::{find_program, is_root, run};

/// Whether this machine has apt.
pub fn is_here() -> bool {
    find_program("apt-get").is_some()
}

/// The command that a user would type to install these packages.
pub fn install_line(packages: &[String]) -> String {
    format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Installs packages: as root on a machine with apt.
///
/// # Errors
/// If this is not root or not Debian: the error holds the exact command to type. Also if apt fails.
pub fn install(packages: &[String]) -> Result<()> {
    if !is_here() {
        bail!(
            "this machine has no apt; install the equivalent of: {}",
            packages.join(" ")
        );
    }
    if !is_root() {
        bail!("not root; type: sudo sh -c '{}'", install_line(packages));
    }
    eprintln!(
        "installing by apt (a minute or two): {}",
        packages.join(" ")
    );
    if has_lists() && run(&mut install_command(packages)).is_ok() {
        return Ok(());
    }
    // There are no package lists, or they are so old that the mirror no longer has what they name.
    update()?;
    run(&mut install_command(packages))
        .with_context(|| format!("by hand: {}", install_line(packages)))
}

/// Fetches the package lists.
pub fn update() -> Result<()> {
    run(apt_get().arg("update"))
}

/// Whether package lists were ever fetched: minimal images have none.
pub fn has_lists() -> bool {
    fs::read_dir(Path::new("/var/lib/apt/lists")).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn install_command(packages: &[String]) -> Command {
    let mut command = apt_get();
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages);
    command
}

/// Shows a progress bar if there is a terminal.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    if !io::stderr().is_terminal() {
        command.arg("-q");
    }
    command
}

/// The version of a package that apt would install, if apt knows the package.
pub fn candidate(package: &str) -> Result<Option<String>> {
    let text = crate::process::output(Command::new("apt-cache").args(["policy", package]))?;
    Ok(candidate_of(&text).map(str::to_owned))
}

fn candidate_of(policy: &str) -> Option<&str> {
    policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))
        .map(str::trim)
        .filter(|version| *version != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_apt_cache_policy() {
        let text = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n";
        assert_eq!(candidate_of(text), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(
            candidate_of("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(candidate_of(""), None);
    }
}
