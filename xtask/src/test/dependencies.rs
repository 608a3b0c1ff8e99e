//! Licences, versions and sources of dependencies, by the policy of deny.toml. `cargo deny check` reads the same file, but is not
//! run here: compiling it takes minutes, and it downloads RustSec's advisories.

use std::{collections::BTreeMap, fmt, fs};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::{
    process::output,
    workspace::{Workspace, outer_cargo},
};

/// What is read of deny.toml. An unknown key is an error: it would be checked by cargo-deny only.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    graph: Graph,
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    /// SPDX identifiers.
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    #[expect(dead_code, reason = "it has one value only")]
    multiple_versions: Deny,
    skip: Vec<Skip>,
}

/// A version that may be there beside another one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    /// `syn@2`: with all versions that are compatible.
    #[serde(rename = "crate")]
    version: String,
    #[expect(dead_code, reason = "for those who read the file")]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    #[expect(dead_code, reason = "it has one value only")]
    unknown_registry: Deny,
    #[expect(dead_code, reason = "it has one value only")]
    unknown_git: Deny,
    allow_registry: Vec<String>,
}

/// The only level that this check knows.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Deny {
    Deny,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None`: a directory.
    source: Option<String>,
}

/// Checks all packages of Cargo.lock that are built for the targets.
///
/// # Errors
/// If one is not as the policy wants it, or the policy or the packages can't be read.
pub fn check(workspace: &Workspace) -> Result<()> {
    let text = fs::read_to_string(workspace.root.join("deny.toml")).context("deny.toml")?;
    let policy: Policy = toml::from_str(&text).context("deny.toml")?;
    let mut command = workspace.clean_cargo(&outer_cargo());
    command.args(["metadata", "--locked", "--format-version", "1"]);
    for target in &policy.graph.targets {
        command.args(["--filter-platform", target]);
    }
    let metadata: Metadata =
        serde_json::from_str(&output(&mut command)?).context("cargo metadata")?;
    let faults = policy.faults(&metadata.packages)?;
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    Ok(())
}

impl Policy {
    fn faults(&self, packages: &[Package]) -> Result<Vec<String>> {
        let mut faults = self.licenses.faults(packages)?;
        let known = |source: &String| {
            let registry = source.strip_prefix("registry+");
            registry.is_some_and(|from| self.sources.allow_registry.iter().any(|at| at == from))
        };
        for package in packages {
            if let Some(source) = package.source.as_ref().filter(|source| !known(source)) {
                faults.push(format!("{package} is from {source}"));
            }
        }
        faults.extend(self.bans.faults(packages));
        Ok(faults)
    }
}

impl Licences {
    fn faults(&self, packages: &[Package]) -> Result<Vec<String>> {
        let mut allowed = Vec::new();
        for name in &self.allow {
            let licence = Licensee::parse(name);
            allowed.push(licence.with_context(|| format!("deny.toml allows {name}"))?);
        }
        let is_allowed = |licence: &str| {
            // Old crates write `MIT/Apache-2.0`.
            let expression = Expression::parse_mode(licence, ParseMode::LAX);
            expression.is_ok_and(|expression| {
                expression.evaluate(|wanted| allowed.iter().any(|one| one.satisfies(wanted)))
            })
        };
        let refused = packages
            .iter()
            .filter_map(|package| match &package.license {
                Some(licence) if is_allowed(licence) => None,
                Some(licence) => Some(format!("{package} is under {licence}")),
                None => Some(format!("{package} names no licence")),
            });
        Ok(refused.collect())
    }
}

impl Bans {
    fn faults(&self, packages: &[Package]) -> Vec<String> {
        let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
        for package in packages {
            by_name.entry(&package.name).or_default().push(package);
        }
        by_name.retain(|_, versions| versions.len() > 1);
        let mut faults = Vec::new();
        for skip in &self.skip {
            if !by_name.values().flatten().any(|package| skip.has(package)) {
                faults.push(format!("{} is skipped, and no duplicate", skip.version));
            }
        }
        for versions in by_name.values() {
            let is_skipped = |package: &&&Package| self.skip.iter().any(|skip| skip.has(package));
            let left = versions.iter().filter(|package| !is_skipped(package));
            let left: Vec<String> = left.map(ToString::to_string).collect();
            if left.len() > 1 {
                faults.push(format!("{} are duplicates", left.join(" and ")));
            }
        }
        faults
    }
}

impl Skip {
    fn has(&self, package: &Package) -> bool {
        let Some((name, version)) = self.version.split_once('@') else {
            return false;
        };
        let rest = package.version.strip_prefix(version);
        name == package.name && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn package(name: &str, version: &str, licence: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some(licence.to_owned()),
            source: Some(CRATES_IO.to_owned()),
        }
    }

    fn faults(packages: &[Package]) -> Vec<String> {
        let policy: Policy = toml::from_str(
            r#"
            graph = { targets = [] }
            licenses = { allow = ["Apache-2.0", "MIT"] }
            bans = { multiple-versions = "deny", skip = [{ crate = "a@0.3", reason = "b" }] }

            [sources]
            unknown-registry = "deny"
            unknown-git = "deny"
            allow-registry = ["https://github.com/rust-lang/crates.io-index"]
            "#,
        )
        .unwrap();
        policy.faults(packages).unwrap()
    }

    /// With the duplicate that the policy expects.
    fn beside(package: Package) -> [Package; 3] {
        [
            self::package("a", "0.3.4", "MIT"),
            self::package("a", "0.4.1", "MIT"),
            package,
        ]
    }

    #[test]
    fn one_of_several_licences_is_enough_where_there_is_a_choice() {
        for (licence, is_well) in [
            ("MIT", true),
            ("GPL-2.0-only OR MIT", true),
            ("Unlicense/MIT", true),
            ("MIT AND Apache-2.0", true),
            ("(GPL-3.0-only OR MIT) AND Apache-2.0", true),
            ("GPL-3.0-only", false),
            ("MIT AND GPL-3.0-only", false),
            ("Apache-2.0 WITH LLVM-exception", false),
            ("ours", false),
            ("", false),
        ] {
            let found = faults(&beside(package("x", "1.0.0", licence)));
            assert_eq!(found.is_empty(), is_well, "{licence}: {found:?}");
        }
        let mut none = package("x", "1.0.0", "");
        none.license = None;
        assert_eq!(faults(&beside(none)), ["x 1.0.0 names no licence"]);
    }

    #[test]
    fn other_sources_are_refused() {
        for (source, is_well) in [
            (None, true),
            (Some(CRATES_IO), true),
            (Some("git+https://github.com/x/x?rev=1#1"), false),
            (Some("registry+https://example.org/index"), false),
        ] {
            let mut from = package("x", "1.0.0", "MIT");
            from.source = source.map(str::to_owned);
            assert_eq!(faults(&beside(from)).is_empty(), is_well, "{source:?}");
        }
    }

    #[test]
    fn duplicates_need_a_reason_and_reasons_a_duplicate() {
        assert_eq!(
            faults(&beside(package("a", "0.5.0", "MIT"))),
            ["a 0.4.1 and a 0.5.0 are duplicates"]
        );
        assert_eq!(
            faults(&[package("a", "0.3.4", "MIT"), package("a", "0.30.0", "MIT")]),
            Vec::<String>::new()
        );
        assert_eq!(
            faults(&[package("a", "0.3.4", "MIT")]),
            ["a@0.3 is skipped, and no duplicate"]
        );
    }

    #[test]
    fn what_only_cargo_deny_knows_is_an_error() {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deny.toml"));
        let text = text.unwrap();
        assert!(toml::from_str::<Policy>(&text).is_ok());
        for (from, to) in [
            ("[licenses]", "[licenses]\nexceptions = []"),
            ("unknown-git = \"deny\"", "unknown-git = \"warn\""),
        ] {
            let other = text.replace(from, to);
            assert_ne!(other, text);
            assert!(toml::from_str::<Policy>(&other).is_err(), "{to}");
        }
    }
}
