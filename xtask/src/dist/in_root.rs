//! The package in a clean Debian root without systemd: installs, uses, removes and purges it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{
    Artifacts,
    debian_root::{self, Recipe},
    snapshot::Snapshot,
};
use crate::{
    process::{output, run},
    workspace::Workspace,
};

const CLEAN: Recipe = Recipe {
    name: "clean",
    packages: &["man-db"],
};

/// What removal leaves: configuration, data, and deb-systemd-helper's notes for a later installation.
const AFTER_REMOVAL: [&str; 10] = [
    "+/etc/systemd/system/multi-user.target.wants/twtrace.service",
    "+/etc/systemd/system/twtrace.service",
    "+/etc/twtrace",
    "+/etc/twtrace/twtrace.toml",
    "+/var/lib/systemd/deb-systemd-helper-enabled/multi-user.target.wants/twtrace.service",
    "+/var/lib/systemd/deb-systemd-helper-enabled/twtrace.service.dsh-also",
    "+/var/lib/systemd/deb-systemd-helper-masked",
    "+/var/lib/systemd/deb-systemd-helper-masked/twtrace.service",
    "+/var/lib/twtrace",
    "+/var/lib/twtrace/history",
];
/// Runs all steps.
///
/// # Errors
/// If a step fails, or leftover files are found.
pub fn play(workspace: &Workspace, artifacts: &Artifacts) -> Result<()> {
    let tarball = debian_root::tarball(workspace, &CLEAN)?;
    let root = workspace.target.join("debian-roots/clean");
    debian_root::unpack(&tarball, &root)?;
    fs::copy(&artifacts.deb, root.join("twtrace.deb"))?;
    let inside = |line: &str| {
        let mut command = Command::new("chroot");
        command
            .arg(&root)
            .args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
            .args([
                "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive",
                "MANPAGER=cat",
            ])
            .args(["/bin/sh", "-c", line]);
        command
    };
    let before = Snapshot::of(&root)?;
    run(&mut inside("dpkg --install /twtrace.deb"))?;

    let version = output(&mut inside("twtrace --version"))?;
    eprint!("installed: {version}");
    let page = output(&mut inside("man twtrace-serve"))?;
    ensure!(page.contains("--listen"), "the manual page is not there");
    let checked = output(&mut inside(
        "twtrace serve --check-config --config /etc/twtrace/twtrace.toml",
    ))?;
    ensure!(
        checked.contains("listen = \"127.0.0.1:10660\""),
        "{checked}"
    );
    let enabled = "etc/systemd/system/multi-user.target.wants/twtrace.service";
    ensure!(
        fs::symlink_metadata(root.join(enabled)).is_ok(),
        "the service is not enabled"
    );
    run(&mut inside("dpkg --verify twtrace"))?;
    // Once more, over itself: an upgrade.
    run(&mut inside("dpkg --install /twtrace.deb"))?;

    run(&mut inside(
        "mkdir /var/lib/twtrace && echo data > /var/lib/twtrace/history",
    ))?;
    run(&mut inside("dpkg --remove twtrace"))?;
    compare("removal", &before, &root, &AFTER_REMOVAL)?;
    run(&mut inside("dpkg --purge twtrace"))?;
    compare("purging", &before, &root, &[])?;
    fs::remove_dir_all(&root).with_context(|| format!("can't remove {}", root.display()))
}

fn compare(after: &str, before: &Snapshot, root: &Path, allowed: &[&str]) -> Result<()> {
    let left = before.differences(&Snapshot::of(root)?);
    eprintln!("after {after}:");
    for line in &left {
        eprintln!("  {line}");
    }
    let stray: Vec<_> = left
        .iter()
        .filter(|line| !allowed.contains(&line.as_str()))
        .collect();
    ensure!(stray.is_empty(), "after {after} there are {stray:?}");
    Ok(())
}
