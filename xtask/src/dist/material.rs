//! Contents of all packages: the program, what it prints about itself, documents, and the time of the build.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{components, licences, sbom, staging};
use crate::{process::output, workspace::Workspace};

/// Shells, and where Debian keeps their completion files.
pub const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/twtrace"),
    ("zsh", "usr/share/zsh/vendor-completions/_twtrace"),
    ("fish", "usr/share/fish/vendor_completions.d/twtrace.fish"),
];

/// A manual page.
#[derive(Debug)]
pub struct Page {
    /// Such as `twtrace-report.1`.
    pub name: String,
    /// roff.
    pub text: Vec<u8>,
}

/// The contents of packages.
pub struct Material<'a> {
    /// Workspace of the documents.
    pub workspace: &'a Workspace,
    /// The static binary.
    pub program: PathBuf,
    /// Version of the workspace.
    pub version: String,
    /// Seconds since 1970, for all files in packages: the time of the commit, or SOURCE_DATE_EPOCH.
    pub epoch: u64,
    /// Manual pages.
    pub pages: Vec<Page>,
    /// Completion scripts, in the order of [`SHELLS`].
    pub completions: Vec<Vec<u8>>,
    /// The SBOM, as CycloneDX.
    pub sbom: Vec<u8>,
    /// Licences of the linked components.
    pub third_party: Vec<u8>,
}

impl<'a> Material<'a> {
    /// Collects the contents from the program, cargo and git.
    ///
    /// # Errors
    /// If the program does not run here, or one of the others fails.
    pub fn collect(workspace: &'a Workspace, program: &Path) -> Result<Self> {
        let said = output(Command::new(program).arg("--version"))?;
        let version = said
            .trim()
            .strip_prefix("twtrace ")
            .with_context(|| format!("unexpected version: {said:?}"))?
            .to_owned();
        let epoch = epoch(workspace)?;
        let parts = components::linked(workspace)?;
        let bill = sbom::Bill {
            version: &version,
            timestamp: &date(epoch, "+%Y-%m-%dT%H:%M:%SZ")?,
            program_sha256: &staging::sha256(program)?,
            parts: &parts,
        };
        Ok(Self {
            workspace,
            program: program.to_owned(),
            pages: pages(program)?,
            completions: SHELLS
                .iter()
                .map(|(shell, _)| printed(program, &["completions", shell]))
                .collect::<Result<_>>()?,
            sbom: bill.to_json()?,
            third_party: licences::texts(&parts)?,
            version,
            epoch,
        })
    }

    /// Such as `twtrace-0.1.0-x86_64-linux`.
    pub fn name(&self) -> String {
        format!("twtrace-{}-{}-linux", self.version, env::consts::ARCH)
    }

    /// A file of the repository.
    pub fn file(&self, path: &str) -> Result<Vec<u8>> {
        let path = self.workspace.root.join(path);
        fs::read(&path).with_context(|| format!("can't read {}", path.display()))
    }

    /// The time, as `date` formats it.
    pub fn date(&self, format: &str) -> Result<String> {
        date(self.epoch, format)
    }
}

fn date(epoch: u64, format: &str) -> Result<String> {
    let text = output(Command::new("date").env("LC_ALL", "C").args([
        "-u",
        "-d",
        &format!("@{epoch}"),
        format,
    ]))?;
    Ok(text.trim().to_owned())
}

fn epoch(workspace: &Workspace) -> Result<u64> {
    if let Some(value) = env::var_os("SOURCE_DATE_EPOCH") {
        return value
            .to_str()
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("SOURCE_DATE_EPOCH is no number: {value:?}"));
    }
    let text = output(Command::new("git").current_dir(&workspace.root).args([
        "log",
        "-1",
        "--format=%ct",
    ]))
    .context("outside of a git repository, set SOURCE_DATE_EPOCH")?;
    text.trim()
        .parse()
        .with_context(|| format!("git says {text:?}"))
}

fn printed(program: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    Ok(output(Command::new(program).args(arguments))?.into_bytes())
}

/// The main page, and one for each verb that it names.
fn pages(program: &Path) -> Result<Vec<Page>> {
    let all = printed(program, &["man"])?;
    let verbs = verbs(&String::from_utf8_lossy(&all));
    ensure!(verbs.len() > 5, "the manual page names only {verbs:?}");
    let mut pages = vec![Page {
        name: "twtrace.1".to_owned(),
        text: all,
    }];
    for verb in verbs {
        pages.push(Page {
            name: format!("twtrace-{verb}.1"),
            text: printed(program, &["man", &verb])?,
        });
    }
    Ok(pages)
}

/// The verbs for which a page names a page of their own. `help` has none.
fn verbs(page: &str) -> Vec<String> {
    let named = page.lines().filter_map(|line| {
        let verb = line.strip_prefix(r"twtrace\-")?.strip_suffix("(1)")?;
        Some(verb.replace('\\', ""))
    });
    named.filter(|verb| verb != "help").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_from_the_page() {
        let page = ".SH SUBCOMMANDS\n.TP\ntwtrace\\-report(1)\nCount for a while\n.TP\ntwtrace\\-help(1)\nPrint\n";
        assert_eq!(verbs(page), ["report"]);
    }

    #[test]
    fn dates_are_in_utc() {
        assert_eq!(
            date(0, "+%Y-%m-%dT%H:%M:%SZ").unwrap(),
            "1970-01-01T00:00:00Z"
        );
    }
}
