//! Checks the packages, with the tools that users have.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use super::{Artifacts, assemble, deb, material::Material, staging};
use crate::process::{find_program, output, run};

/// Files that the package must contain, besides the manual pages.
const IN_PACKAGE: [&str; 12] = [
    "./usr/bin/twtrace",
    "./etc/twtrace/twtrace.toml",
    "./usr/lib/systemd/system/twtrace.service",
    "./usr/share/bash-completion/completions/twtrace",
    "./usr/share/zsh/vendor-completions/_twtrace",
    "./usr/share/fish/vendor_completions.d/twtrace.fish",
    "./usr/share/doc/twtrace/copyright",
    "./usr/share/doc/twtrace/changelog.gz",
    "./usr/share/doc/twtrace/changelog.Debian.gz",
    "./usr/share/doc/twtrace/THIRD-PARTY-LICENCES.gz",
    "./usr/share/doc/twtrace/sbom.cdx.json",
    "./usr/share/doc/twtrace/examples/twtrace.rules.yml",
];
/// Files that the tarball must contain.
const IN_TARBALL: [&str; 7] = [
    "twtrace",
    "twtrace.service",
    "twtrace.toml",
    "twtrace.rules.yml",
    "kubernetes/daemonset.yaml",
    "sbom.cdx.json",
    "THIRD-PARTY-LICENCES",
];

/// Checks contents, owners, modes and checksums, and runs the unpacked binary.
pub fn contents(material: &Material<'_>, artifacts: &Artifacts) -> Result<()> {
    run(Command::new("sha256sum")
        .current_dir(&artifacts.directory)
        .args(["--check", "--strict"])
        .arg(&artifacts.sums))?;
    package(material, artifacts)?;
    tarball(material, artifacts)?;
    lint(artifacts)?;
    eprintln!("contents are as they should be");
    Ok(())
}

fn package(material: &Material<'_>, artifacts: &Artifacts) -> Result<()> {
    let field = |name: &str| {
        output(
            Command::new("dpkg-deb")
                .arg("-f")
                .arg(&artifacts.deb)
                .arg(name),
        )
    };
    ensure!(field("Package")?.trim() == "twtrace");
    ensure!(field("Version")?.trim() == deb::version(material));
    let list = output(Command::new("dpkg-deb").arg("-c").arg(&artifacts.deb))?;
    let mut expected: Vec<String> = IN_PACKAGE.map(str::to_owned).into();
    expected.extend(
        material
            .pages
            .iter()
            .map(|page| format!("./usr/share/man/man1/{}.gz", page.name)),
    );
    for path in &expected {
        ensure!(
            list.lines().any(|line| line.ends_with(path)),
            "the package has no {path}"
        );
    }
    list.lines().try_for_each(listed_well)?;
    let into = artifacts.directory.join("unpacked");
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(&artifacts.deb)
        .arg(&into))?;
    runs(&into.join("usr/bin/twtrace"), material)?;
    fs::remove_dir_all(&into)?;
    Ok(())
}

/// Checks one line of `dpkg-deb -c`: owned by root, and writable only by root; only the program is executable.
fn listed_well(line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let (Some(mode), Some(owner), Some(path)) = (words.next(), words.next(), words.next_back())
    else {
        bail!("dpkg-deb listed {line:?}");
    };
    let expected = match path {
        path if path.ends_with('/') => "drwxr-xr-x",
        "./usr/bin/twtrace" => "-rwxr-xr-x",
        _ => "-rw-r--r--",
    };
    ensure!(mode == expected && owner == "root/root", "{line}");
    Ok(())
}

fn tarball(material: &Material<'_>, artifacts: &Artifacts) -> Result<()> {
    let into = staging::Staging::new(artifacts.directory.join("unpacked"))?;
    run(Command::new("tar")
        .arg("-xzf")
        .arg(&artifacts.tarball)
        .arg("-C")
        .arg(into.root()))?;
    let top = into.root().join(material.name());
    for name in IN_TARBALL {
        ensure!(top.join(name).is_file(), "the tarball has no {name}");
    }
    runs(&top.join("twtrace"), material)?;
    fs::remove_dir_all(into.root())?;
    Ok(())
}

/// Checks that it prints its version, and has no dynamic loader.
fn runs(program: &Path, material: &Material<'_>) -> Result<()> {
    let said = output(Command::new(program).arg("--version"))?;
    ensure!(
        said.trim() == format!("twtrace {}", material.version),
        "{said}"
    );
    let headers = output(Command::new("readelf").arg("-lW").arg(program))?;
    ensure!(
        !headers.contains("INTERP"),
        "{} is not static",
        program.display()
    );
    Ok(())
}

/// Runs Debian's own checker, if it is installed.
fn lint(artifacts: &Artifacts) -> Result<()> {
    if find_program("lintian").is_none() {
        eprintln!("lintian is not here: not asked");
        return Ok(());
    }
    run(Command::new("lintian")
        .args(["--fail-on", "error", "--allow-root", "--suppress-tags"])
        // A static binary is intended.
        .arg("statically-linked-binary,embedded-library")
        .arg(&artifacts.deb))
    .context("lintian found errors")
}

/// Builds everything a second time in another directory and compares.
///
/// # Errors
/// If a file differs.
pub fn same_bytes_again(
    material: &Material<'_>,
    artifacts: &Artifacts,
    directory: &Path,
) -> Result<()> {
    let again = assemble(material, directory)?;
    let (first, second) = (fs::read(&artifacts.sums)?, fs::read(&again.sums)?);
    ensure!(
        first == second,
        "made again, it differs: {} and {}",
        artifacts.sums.display(),
        again.sums.display()
    );
    fs::remove_dir_all(directory)?;
    eprintln!("made again, all bytes are the same");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_modes_are_looked_at() {
        let line = |mode, owner, path| format!("{mode} {owner}  123 2026-11-27 23:54 {path}");
        for (mode, owner, path, is_well) in [
            ("drwxr-xr-x", "root/root", "./usr/bin/", true),
            ("-rwxr-xr-x", "root/root", "./usr/bin/twtrace", true),
            (
                "-rw-r--r--",
                "root/root",
                "./etc/twtrace/twtrace.toml",
                true,
            ),
            (
                "-rwxr-xr-x",
                "root/root",
                "./etc/twtrace/twtrace.toml",
                false,
            ),
            (
                "-rw-r--r--",
                "user/user",
                "./etc/twtrace/twtrace.toml",
                false,
            ),
            ("drwxrwxr-x", "root/root", "./usr/bin/", false),
        ] {
            assert_eq!(
                listed_well(&line(mode, owner, path)).is_ok(),
                is_well,
                "{mode} {owner} {path}"
            );
        }
    }
}
