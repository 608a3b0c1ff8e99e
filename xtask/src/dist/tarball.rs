//! The tarball: the binary runs alone; the other files are for an installation by hand. GNU tar packs it, with options for
//! all that would differ from build to build.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    material::{Material, SHELLS},
    staging::{self, Staging},
};
use crate::process::line_of;

/// Files of the repository that it contains, and their paths in it.
const FILES: [(&str, &str); 9] = [
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("deploy/twtrace.toml", "twtrace.toml"),
    ("deploy/systemd/twtrace.service", "twtrace.service"),
    ("deploy/prometheus/twtrace.rules.yml", "twtrace.rules.yml"),
    (
        "deploy/kubernetes/daemonset.yaml",
        "kubernetes/daemonset.yaml",
    ),
    ("deploy/kubernetes/Dockerfile", "kubernetes/Dockerfile"),
];

/// Builds the tarball in the directory.
pub fn build(material: &Material<'_>, directory: &Path) -> Result<PathBuf> {
    let name = material.name();
    let staging = Staging::new(directory.join("stage-tarball"))?;
    let put = |path: &str, content: &[u8]| staging.put(&format!("{name}/{path}"), content);
    let program = std::fs::read(&material.program).context("can't read the program")?;
    staging.put_as(&format!("{name}/twtrace"), &program, 0o755)?;
    for (from, to) in FILES {
        put(to, &material.file(from)?)?;
    }
    for page in &material.pages {
        put(&format!("man/{}", page.name), &page.text)?;
    }
    for ((shell, _), script) in SHELLS.iter().zip(&material.completions) {
        put(&format!("completions/twtrace.{shell}"), script)?;
    }
    put("sbom.cdx.json", &material.sbom)?;
    put("THIRD-PARTY-LICENCES", &material.third_party)?;

    let mut command = Command::new("tar");
    command
        .args([
            "--create",
            "--format=gnu",
            "--sort=name",
            "--owner=0",
            "--group=0",
        ])
        .args(["--numeric-owner", &format!("--mtime=@{}", material.epoch)])
        .arg("--directory")
        .arg(staging.root())
        .arg(&name);
    let tar = command
        .output()
        .with_context(|| format!("can't run {}", line_of(&command)))?;
    anyhow::ensure!(
        tar.status.success(),
        "tar failed: {}",
        String::from_utf8_lossy(&tar.stderr)
    );
    let path = directory.join(format!("{name}.tar.gz"));
    std::fs::write(&path, staging::gzip(&tar.stdout)?)
        .with_context(|| format!("can't write {}", path.display()))?;
    std::fs::remove_dir_all(staging.root())?;
    Ok(path)
}
