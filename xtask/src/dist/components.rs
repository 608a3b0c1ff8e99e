//! Components linked into the binary: crates, and C code that some of them contain.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    process::output,
    workspace::{Workspace, host_triple, outer_cargo},
};

/// A library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Such as `tokio`.
    pub name: String,
    /// Such as `1.48.0`.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// Package URL.
    pub purl: String,
    /// SHA-256 of the crate's archive, if it was downloaded as one.
    pub sha256: Option<String>,
    /// Directory with its licence text.
    pub source: Option<PathBuf>,
    /// Package URLs of its own dependencies.
    pub uses: BTreeSet<String>,
}

/// Name and version.
type Key = (String, String);

/// All linked components, by name and version; the first are twtrace's own crates.
///
/// # Errors
/// If cargo fails, or a crate has no known licence.
pub fn linked(workspace: &Workspace) -> Result<Vec<Component>> {
    let mut keys = tree(workspace, "twtrace", &host_triple())?;
    // The binary contains the eBPF object.
    keys.extend(tree(workspace, "probe-ebpf", "bpfel-unknown-none")?);
    let metadata: Value =
        serde_json::from_str(&output(workspace.clean_cargo(&outer_cargo()).args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
        ]))?)
        .context("cargo metadata")?;
    let lock = fs::read_to_string(workspace.root.join("Cargo.lock"))?;
    let mut parts = of_metadata(&metadata, &keys, &checksums(&lock))?;
    let bundled = bundled(&parts)?;
    parts.extend(bundled);
    parts.sort();
    Ok(parts)
}

/// The crates that cargo links into a package, without macros and build dependencies.
fn tree(workspace: &Workspace, package: &str, target: &str) -> Result<BTreeSet<Key>> {
    let text = output(
        workspace
            .clean_cargo(&outer_cargo())
            .args(["tree", "--locked", "--package", package, "--target", target])
            .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
            .args(["--format", "{p}"]),
    )?;
    text.lines()
        .filter(|line| !line.is_empty())
        .map(key_of_line)
        .collect()
}

/// Parses a line such as `tokio v1.48.0 (*)`.
fn key_of_line(line: &str) -> Result<Key> {
    let mut words = line.split(' ');
    match (
        words.next(),
        words.next().and_then(|word| word.strip_prefix('v')),
    ) {
        (Some(name), Some(version)) => Ok((name.to_owned(), version.to_owned())),
        _ => anyhow::bail!("cargo tree printed {line:?}"),
    }
}

fn of_metadata(
    metadata: &Value,
    keys: &BTreeSet<Key>,
    checksums: &BTreeMap<Key, String>,
) -> Result<Vec<Component>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut by_id = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (Some(id), Some(name), Some(version)) = (
            text(&package["id"]),
            text(&package["name"]),
            text(&package["version"]),
        ) else {
            anyhow::bail!("cargo metadata has a package without a name");
        };
        let key = (name, version);
        if !keys.contains(&key) {
            continue;
        }
        let licence = text(&package["license"])
            .with_context(|| format!("{} {} names no licence", key.0, key.1))?;
        let manifest = text(&package["manifest_path"]).map(PathBuf::from);
        by_id.insert(
            id,
            Component {
                purl: format!("pkg:cargo/{}@{}", key.0, key.1.replace('+', "%2B")),
                // An old notation.
                licence: licence
                    .replace('/', " OR ")
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
                sha256: checksums.get(&key).cloned(),
                source: manifest.and_then(|path| path.parent().map(Path::to_owned)),
                name: key.0,
                version: key.1,
                uses: BTreeSet::new(),
            },
        );
    }
    ensure!(
        by_id.len() == keys.len(),
        "cargo metadata knows {} of {} crates",
        by_id.len(),
        keys.len()
    );
    let purls: BTreeMap<String, String> = by_id
        .iter()
        .map(|(id, component)| (id.clone(), component.purl.clone()))
        .collect();
    for node in metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let Some(component) = node["id"].as_str().and_then(|id| by_id.get_mut(id)) else {
            continue;
        };
        for dependency in node["deps"].as_array().into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array();
            let is_linked = kinds
                .into_iter()
                .flatten()
                .any(|kind| kind["kind"].is_null());
            let purl = dependency["pkg"].as_str().and_then(|id| purls.get(id));
            if let (true, Some(purl)) = (is_linked, purl) {
                component.uses.insert(purl.clone());
            }
        }
    }
    Ok(by_id.into_values().collect())
}

/// Checksums in Cargo.lock.
fn checksums(lock: &str) -> BTreeMap<Key, String> {
    let value = |stanza: &str, name: &str| {
        stanza.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(" = \"")?;
            value.strip_suffix('"').map(str::to_owned)
        })
    };
    let stanzas = lock.split("[[package]]").skip(1);
    stanzas
        .filter_map(|stanza| {
            let key = (value(stanza, "name")?, value(stanza, "version")?);
            Some((key, value(stanza, "checksum")?))
        })
        .collect()
}

/// Components that are not Rust, and Rust's own library.
fn bundled(crates: &[Component]) -> Result<Vec<Component>> {
    let beside = |name: &str, path: &str| -> Result<String> {
        let source = crates
            .iter()
            .find(|component| component.name == name)
            .and_then(|component| component.source.as_ref())
            .with_context(|| format!("{name} is not linked in"))?;
        let path = source.join(path);
        fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))
    };
    let sqlite = beside("libsqlite3-sys", "sqlite3/sqlite3.h")?;
    let zstd = beside("zstd-sys", "zstd/lib/zstd.h")?;
    let part = |name: &str, version: &str, licence: &str| Component {
        name: name.to_owned(),
        version: version.to_owned(),
        licence: licence.to_owned(),
        purl: format!("pkg:generic/{name}@{version}"),
        sha256: None,
        source: None,
        uses: BTreeSet::new(),
    };
    let zstd_version = ["MAJOR", "MINOR", "RELEASE"]
        .map(|word| defined(&zstd, &format!("ZSTD_VERSION_{word}")))
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .context("zstd.h has no version")?
        .join(".");
    let sqlite_version = defined(&sqlite, "SQLITE_VERSION").context("sqlite3.h has no version")?;
    let rustc = output(Command::new("rustc").arg("--version"))?;
    let gcc = output(Command::new("cc").arg("-dumpfullversion"))?;
    // SAFETY: glibc returns a static string of its own.
    let glibc = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    Ok(vec![
        part("sqlite", &sqlite_version, "blessing"),
        part("zstd", &zstd_version, "BSD-3-Clause"),
        part("glibc", &glibc.to_string_lossy(), "LGPL-2.1-or-later"),
        part(
            "libgcc",
            gcc.trim(),
            "GPL-3.0-or-later WITH GCC-exception-3.1",
        ),
        part(
            "rust-std",
            rustc.split(' ').nth(1).context("rustc has no version")?,
            "MIT OR Apache-2.0",
        ),
    ])
}

/// The value of a `#define`.
fn defined(header: &str, name: &str) -> Option<String> {
    header.lines().find_map(|line| {
        let mut words = line.strip_prefix("#define")?.split_whitespace();
        (words.next()? == name)
            .then(|| words.next().map(|word| word.trim_matches('"').to_owned()))?
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        (name.to_owned(), "1.0.0".to_owned())
    }

    #[test]
    fn only_what_is_linked_is_listed_with_what_it_uses() {
        let package = |name: &str| {
            json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0",
                   "manifest_path": format!("/c/{name}/Cargo.toml")})
        };
        let metadata = json!({
            "packages": [package("a"), package("b"), package("cc")],
            "resolve": {"nodes": [{"id": "a", "deps": [
                {"pkg": "b", "dep_kinds": [{"kind": null}]},
                {"pkg": "cc", "dep_kinds": [{"kind": "build"}]},
            ]}]}
        });
        let checksums = checksums(
            "version = 4\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\nchecksum = \"00ff\"\n",
        );
        let keys = BTreeSet::from([key("a"), key("b")]);
        let parts = of_metadata(&metadata, &keys, &checksums).unwrap();
        let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(parts[0].licence, "MIT OR Apache-2.0");
        assert_eq!(
            parts[0].uses,
            BTreeSet::from(["pkg:cargo/b@1.0.0".to_owned()])
        );
        assert_eq!(parts[1].sha256.as_deref(), Some("00ff"));

        let keys = BTreeSet::from([key("a"), key("z")]);
        assert!(
            of_metadata(&metadata, &keys, &checksums).is_err(),
            "z is not known"
        );
    }

    #[test]
    fn what_cargo_and_headers_print_is_read() {
        assert_eq!(key_of_line("a v1.0.0 (/src/a)").unwrap(), key("a"));
        assert_eq!(key_of_line("a v1.0.0 (*)").unwrap(), key("a"));
        assert!(key_of_line("[build-dependencies]").is_err());
        let header = "#define X_VERSION_NUMBER 3\n#define X_VERSION        \"3.50.2\"\n";
        assert_eq!(defined(header, "X_VERSION").as_deref(), Some("3.50.2"));
        assert_eq!(defined(header, "Y"), None);
    }
}
