//! The Debian package, built by dpkg-deb from a directory: Debian's tools compile nothing in it. What is written
//! here is which files and fields it has. cargo-deb needs the same lists, and would be another program to compile.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    material::{Material, SHELLS},
    staging::{self, Staging},
};
use crate::process::{output, run};

/// Maintainer of the package.
const MAINTAINER: &str = "The twtrace authors <twtrace@users.noreply.github.com>";
/// Revision of the packaging, for changes of the packaging alone.
const REVISION: &str = "1";
/// A configuration file that upgrades leave as the administrator has changed it.
pub const CONFIGURATION: &str = "etc/twtrace/twtrace.toml";
/// Scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const DOCUMENTS: &str = "usr/share/doc/twtrace";

/// Builds the package in the directory.
pub fn build(material: &Material<'_>, directory: &Path) -> Result<PathBuf> {
    let staging = Staging::new(directory.join("stage-deb"))?;
    put_payload(material, &staging)?;
    put_control(material, &staging)?;
    let path = directory.join(format!(
        "twtrace_{}_{}.deb",
        version(material),
        architecture()?
    ));
    run(Command::new("dpkg-deb")
        .env("SOURCE_DATE_EPOCH", material.epoch.to_string())
        // xz: older versions of dpkg do not support zstd.
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(staging.root())
        .arg(&path))?;
    fs::remove_dir_all(staging.root())?;
    Ok(path)
}

/// Version of the package: twtrace's version and the packaging's revision.
pub fn version(material: &Material<'_>) -> String {
    format!("{}-{REVISION}", material.version)
}

fn architecture() -> Result<String> {
    let text = output(Command::new("dpkg").arg("--print-architecture"))?;
    Ok(text.trim().to_owned())
}

fn put_payload(material: &Material<'_>, staging: &Staging) -> Result<()> {
    let program = fs::read(&material.program).context("can't read the program")?;
    staging.put_as("usr/bin/twtrace", &program, 0o755)?;
    staging.put(CONFIGURATION, &material.file("deploy/twtrace.toml")?)?;
    staging.put(
        "usr/lib/systemd/system/twtrace.service",
        &material.file("deploy/systemd/twtrace.service")?,
    )?;
    for page in &material.pages {
        let path = format!("usr/share/man/man1/{}.gz", page.name);
        staging.put(&path, &staging::gzip(&page.text)?)?;
    }
    for ((_, path), script) in SHELLS.iter().zip(&material.completions) {
        staging.put(path, script)?;
    }
    let document =
        |name: &str, content: &[u8]| staging.put(&format!("{DOCUMENTS}/{name}"), content);
    document(
        "README.md.gz",
        &staging::gzip(&material.file("README.md")?)?,
    )?;
    document(
        "changelog.gz",
        &staging::gzip(&material.file("CHANGELOG.md")?)?,
    )?;
    document(
        "changelog.Debian.gz",
        &staging::gzip(&debian_changelog(material)?)?,
    )?;
    document("copyright", &copyright(material)?)?;
    document(
        "THIRD-PARTY-LICENCES.gz",
        &staging::gzip(&material.third_party)?,
    )?;
    document(
        "examples/twtrace.rules.yml",
        &material.file("deploy/prometheus/twtrace.rules.yml")?,
    )?;
    document("sbom.cdx.json", &material.sbom)
}

fn put_control(material: &Material<'_>, staging: &Staging) -> Result<()> {
    let files = staging.files()?;
    let mut sums = String::new();
    let mut bytes = 0;
    for file in &files {
        bytes += fs::metadata(staging.root().join(file))?.len();
        if file != Path::new(CONFIGURATION) {
            let line = output(Command::new("md5sum").current_dir(staging.root()).arg(file))?;
            sums.push_str(&line);
        }
    }
    let control = control(&version(material), &architecture()?, bytes.div_ceil(1024));
    staging.put("DEBIAN/control", control.as_bytes())?;
    staging.put("DEBIAN/md5sums", sums.as_bytes())?;
    staging.put("DEBIAN/conffiles", format!("/{CONFIGURATION}\n").as_bytes())?;
    for script in SCRIPTS {
        let content = material.file(&format!("deploy/debian/{script}"))?;
        staging.put_as(&format!("DEBIAN/{script}"), &content, 0o755)?;
    }
    Ok(())
}

/// No `Depends`: the binary is static, and the scripts call only essential packages.
fn control(version: &str, architecture: &str, installed_kib: u64) -> String {
    format!(
        "Package: twtrace\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: {MAINTAINER}\n\
         Installed-Size: {installed_kib}\n\
         Section: net\n\
         Priority: optional\n\
         Homepage: https://github.com/twtrace/twtrace\n\
         Description: trace TIME_WAIT sockets, resets and local ports by process\n \
         twtrace is an eBPF tracer that tells who creates the TIME_WAIT sockets of a\n \
         host and how each of them ends, whose connections die by RST and why, and who\n \
         waits for a local port or fails to get one.\n \
         .\n \
         It needs Linux 5.10 or later with BTF. The package starts a service that\n \
         serves metrics for Prometheus on 127.0.0.1:10660.\n"
    )
}

fn debian_changelog(material: &Material<'_>) -> Result<Vec<u8>> {
    let text = format!(
        "twtrace ({}) unstable; urgency=medium\n\n  * Upstream's own package: changes are in changelog.gz.\n\n -- \
         {MAINTAINER}  {}\n",
        version(material),
        material.date("-R")?
    );
    Ok(text.into_bytes())
}

fn copyright(material: &Material<'_>) -> Result<Vec<u8>> {
    let mit = String::from_utf8(material.file("LICENSE-MIT")?).context("LICENSE-MIT")?;
    let holder = mit
        .lines()
        .find_map(|line| line.strip_prefix("Copyright "))
        .context("LICENSE-MIT names no holder")?;
    let terms: String = mit
        .lines()
        .skip_while(|line| !line.starts_with("Permission"))
        .map(|line| match line.trim() {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        })
        .collect();
    let text = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: twtrace\n\
         Source: https://github.com/twtrace/twtrace\n\
         Comment: The binary is static. What is linked in, under which licence, is in\n \
         THIRD-PARTY-LICENCES.gz and sbom.cdx.json in this directory.\n\n\
         Files: *\n\
         Copyright: {holder}\n\
         License: Apache-2.0 or Expat\n\n\
         License: Apache-2.0\n \
         On Debian systems it is in /usr/share/common-licenses/Apache-2.0.\n\n\
         License: Expat\n{terms}"
    );
    Ok(text.into_bytes())
}
