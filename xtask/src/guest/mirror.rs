//! Another Debian suite than the machine's own, through a separate apt configuration: the machine's sources and package
//! lists stay unchanged. The address of the mirror is the machine's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    apt::sources::{self, AptSource},
    process::{find_program, output, run},
};

/// Debian's archive keys, by their names in old and new releases.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Which of Debian's archives a suite is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// Releases and backports.
    Main,
    /// Security updates.
    Security,
}

/// The apt configuration for some suites.
pub struct Mirror {
    directory: PathBuf,
}

impl Mirror {
    /// Sets it up in `directory` and fetches the package lists. Suites of the security archive are left out if the
    /// mirror does not have them.
    ///
    /// # Errors
    /// If no mirror is known, this machine has no apt, or the mirror does not answer.
    pub fn open(
        directory: &Path,
        address: Option<&str>,
        suites: &[(Archive, &str)],
    ) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg"] {
            ensure!(
                find_program(program).is_some(),
                "kernel packages need {program}; where there is none use vm --vmlinuz FILE --modules DIR"
            );
        }
        let machine = sources::of_machine();
        let mirror = Self {
            directory: directory.to_owned(),
        };
        fs::create_dir_all(mirror.lists().join("partial"))?;
        fs::create_dir_all(mirror.cache().join("archives/partial"))?;
        mirror.write_sources(&machine, address, suites)?;
        if mirror.update().is_err() {
            let main: Vec<_> = suites
                .iter()
                .copied()
                .filter(|(archive, _)| *archive == Archive::Main)
                .collect();
            mirror.write_sources(&machine, address, &main)?;
            mirror.update()?;
        }
        Ok(mirror)
    }

    /// Names of packages with this prefix.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text = output(self.configured("apt-cache").args(["pkgnames", prefix]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Downloads packages and unpacks them, without installing them.
    pub fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let downloads = self.directory.join("downloads");
        if downloads.exists() {
            fs::remove_dir_all(&downloads)?;
        }
        fs::create_dir_all(&downloads)?;
        run(self
            .configured("apt-get")
            .current_dir(&downloads)
            .args(["-q", "download"])
            .args(packages))?;
        for entry in fs::read_dir(&downloads)? {
            run(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(into))?;
        }
        fs::remove_dir_all(&downloads)?;
        Ok(())
    }

    /// Removes the configuration and its package lists, which are useless before the next fetch.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.directory)
            .with_context(|| format!("can't remove {}", self.directory.display()))
    }

    fn update(&self) -> Result<()> {
        // Without this, an unreachable suite only causes a warning.
        run(self
            .configured("apt-get")
            .args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]))
    }

    fn write_sources(
        &self,
        machine: &[AptSource],
        address: Option<&str>,
        suites: &[(Archive, &str)],
    ) -> Result<()> {
        let keyring = keyring();
        let mut text = String::new();
        for (archive, suite) in suites {
            text.push_str(&source_line(machine, address, keyring, *archive, suite)?);
            text.push('\n');
        }
        fs::write(self.sources(), text)
            .with_context(|| format!("can't write {}", self.sources().display()))
    }

    fn sources(&self) -> PathBuf {
        self.directory.join("sources.list")
    }

    fn lists(&self) -> PathBuf {
        self.directory.join("lists")
    }

    fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }

    fn configured(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let directories = [
            ("Dir::Etc::SourceList", self.sources()),
            ("Dir::Etc::SourceParts", PathBuf::from("/dev/null")),
            ("Dir::Etc::Preferences", PathBuf::from("/dev/null")),
            ("Dir::Etc::PreferencesParts", PathBuf::from("/dev/null")),
            ("Dir::State::Lists", self.lists()),
            ("Dir::Cache", self.cache()),
        ];
        for (option, path) in directories {
            command
                .arg("-o")
                .arg(format!("{option}={}", path.display()));
        }
        for option in [
            // The sandbox user of apt can't read the target directory.
            "APT::Sandbox::User=root",
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            // Old releases are no longer signed again.
            "Acquire::Check-Valid-Until=false",
        ] {
            command.args(["-o", option]);
        }
        command
    }
}

/// A `deb` line for a suite of Debian's main archive, at the mirror that this machine uses.
///
/// # Errors
/// If no mirror is known.
pub fn machine_source(address: Option<&str>, suite: &str) -> Result<String> {
    let machine = sources::of_machine();
    source_line(&machine, address, keyring(), Archive::Main, suite)
}

fn keyring() -> Option<&'static str> {
    KEYRINGS
        .iter()
        .copied()
        .find(|path| Path::new(path).exists())
}

/// One `deb` line: address and trust of the machine's own source of that archive, with another suite.
fn source_line(
    machine: &[AptSource],
    address: Option<&str>,
    keyring: Option<&str>,
    archive: Archive,
    suite: &str,
) -> Result<String> {
    let own = machine.iter().find(|source| serves(source, archive));
    let uri = match (address, own) {
        (Some(address), _) => archive_address(address, archive),
        (None, Some(source)) => source.uri.clone(),
        (None, None) => {
            // Most mirrors have both archives beside each other.
            let Some(main) = machine.iter().find(|source| serves(source, Archive::Main)) else {
                bail!(
                    "this machine's apt sources name no Debian mirror; give one with --mirror URL"
                );
            };
            archive_address(&main.uri, archive)
        }
    };
    let mut options = String::new();
    if own.is_some_and(|source| source.trusted) {
        options.push_str("[trusted=yes] ");
    } else if let Some(file) = keyring.or(own.and_then(|source| source.signed_by.as_deref())) {
        // The archive keyring first: it has the keys of all releases.
        options = format!("[signed-by={file}] ");
    }
    Ok(format!("deb {options}{uri} {suite} main"))
}

/// Whether a source of the machine is this Debian archive: others also use the names of its releases, but hardly with
/// the component `main`.
fn serves(source: &AptSource, archive: Archive) -> bool {
    const RELEASES: [&str; 6] = ["bullseye", "bookworm", "trixie", "forky", "sid", "stable"];
    let is_debian = source
        .components
        .iter()
        .any(|component| component == "main")
        && source
            .suites
            .iter()
            .any(|suite| RELEASES.contains(&suite.split(['-', '/']).next().unwrap_or_default()));
    let usual_path = source.uri.contains("/debian");
    match archive {
        Archive::Security => is_debian && source.is_security(),
        Archive::Main => is_debian && usual_path && !source.is_security(),
    }
}

fn archive_address(main: &str, archive: Archive) -> String {
    let main = main.trim_end_matches('/');
    match archive {
        Archive::Main => main.to_owned(),
        Archive::Security => format!("{main}-security"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<AptSource> {
        sources::parse_list(
            "deb http://tool.example/apt stable main\n\
             deb http://m.example/debian bookworm main\n\
             deb [signed-by=/k.gpg] http://s.example/debian-security bookworm-security main\n\
             deb http://other.example/linux/debian bookworm stable\n",
        )
    }

    #[test]
    fn suites_are_read_from_the_machines_mirror() {
        let line = |archive, suite| source_line(&machine(), None, None, archive, suite).unwrap();
        assert_eq!(
            line(Archive::Main, "trixie"),
            "deb http://m.example/debian trixie main"
        );
        assert_eq!(
            line(Archive::Security, "trixie-security"),
            "deb [signed-by=/k.gpg] http://s.example/debian-security trixie-security main"
        );
    }

    #[test]
    fn a_mirror_given_by_the_user_comes_first() {
        let line = |archive| {
            source_line(
                &machine(),
                Some("http://u.example/debian/"),
                Some("/a.gpg"),
                archive,
                "x",
            )
        };
        assert_eq!(
            line(Archive::Main).unwrap(),
            "deb [signed-by=/a.gpg] http://u.example/debian x main"
        );
        assert!(
            line(Archive::Security)
                .unwrap()
                .contains("http://u.example/debian-security x")
        );
    }

    #[test]
    fn a_machine_without_a_mirror_is_told_to_give_one() {
        let error = source_line(&[], None, None, Archive::Main, "trixie").unwrap_err();
        assert!(error.to_string().contains("--mirror"));
    }
}
