//! Kernel modules of a guest: found by name, unpacked, and sorted in load order. The dependencies are read from the
//! module itself (`depends=` in `.modinfo`): Debian's packages have no `modules.dep`, which depmod creates on
//! installation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// What the scenarios use and stock kernels have as modules. A module that a kernel lacks, or has built in, is left
/// out.
const WANTED: [&str; 14] = [
    "tun",
    "veth",
    "dummy",
    "inet_diag",
    "tcp_diag",
    "unix_diag",
    "mptcp_diag",
    // The checksum that sctp requests from the crypto API at run time, not as a dependency.
    "crc32c_generic",
    "sctp",
    "sctp_diag",
    // NAT: nf_tables alone would load these on demand, with a program that a guest does not have.
    "nf_tables",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
];

/// One module, unpacked.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The ELF file.
    pub content: Vec<u8>,
}

/// The modules that a guest loads, each after its dependencies.
///
/// # Errors
/// If a module can't be read or unpacked, or a dependency is missing.
pub fn collect(directory: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(directory, &mut files)?;
    ensure!(
        !files.is_empty(),
        "no kernel modules below {}",
        directory.display()
    );
    load_order(&WANTED, &|name| {
        files.get(name).map(|path| read(path)).transpose()
    })
}

/// Module files below a directory, by module name.
fn index(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("can't read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = module_name(&entry.file_name().to_string_lossy()) {
            files.insert(name, path);
        }
    }
    Ok(())
}

fn module_name(file: &str) -> Option<String> {
    let (stem, packing) = file.split_once(".ko")?;
    ["", ".xz", ".zst", ".gz"]
        .contains(&packing)
        .then(|| stem.replace('-', "_"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(path).with_context(|| format!("can't read {}", path.display())),
    };
    let output = Command::new(program)
        .args(["-d", "-c"])
        .arg(path)
        .output()
        .with_context(|| format!("can't run {program} to unpack kernel modules"))?;
    ensure!(
        output.status.success(),
        "{program} can't unpack {}",
        path.display()
    );
    Ok(output.stdout)
}

/// Depth first: each module after its dependencies. `lookup` returns a module's content by its name.
fn load_order(
    wanted: &[&str],
    lookup: &dyn Fn(&str) -> Result<Option<Vec<u8>>>,
) -> Result<Vec<Module>> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in wanted {
        if let Some(content) = lookup(name)? {
            visit(name, content, lookup, &mut seen, &mut order)?;
        }
    }
    Ok(order)
}

fn visit(
    name: &str,
    content: Vec<u8>,
    lookup: &dyn Fn(&str) -> Result<Option<Vec<u8>>>,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<Module>,
) -> Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    for needed in depends(&content) {
        if seen.contains(&needed) {
            continue;
        }
        match lookup(&needed)? {
            Some(below) => visit(&needed, below, lookup, seen, order)?,
            None => bail!("kernel module {name} needs {needed}, which is not there"),
        }
    }
    order.push(Module {
        name: name.to_owned(),
        content,
    });
    Ok(())
}

/// Names after `depends=` in the module's information, a list of zero-terminated strings.
fn depends(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = content.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let list: Vec<u8> = content[at + KEY.len()..]
        .iter()
        .copied()
        .take_while(|byte| *byte != 0)
        .collect();
    String::from_utf8_lossy(&list)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(wanted: &[&str], files: &[(&str, &str)]) -> Result<Vec<String>> {
        let lookup = |name: &str| {
            Ok(files.iter().find(|(n, _)| *n == name).map(|(_, needs)| {
                format!("ELF\0license=GPL\0depends={needs}\0name={name}\0").into_bytes()
            }))
        };
        Ok(load_order(wanted, &lookup)?
            .into_iter()
            .map(|module| module.name)
            .collect())
    }

    #[test]
    fn modules_come_after_what_they_need() {
        let files = [
            ("sctp", "libcrc32c,udp-tunnel"),
            ("libcrc32c", ""),
            ("udp_tunnel", "libcrc32c"),
            ("tun", ""),
        ];
        let order = order_of(&["tun", "sctp", "libcrc32c", "absent"], &files).unwrap();
        assert_eq!(order, ["tun", "libcrc32c", "udp_tunnel", "sctp"]);
    }

    #[test]
    fn a_missing_dependency_is_an_error() {
        let error = order_of(&["sctp"], &[("sctp", "gone")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "kernel module sctp needs gone, which is not there"
        );
    }

    #[test]
    fn files_are_known_by_their_module_name() {
        assert_eq!(module_name("inet-diag.ko.xz").as_deref(), Some("inet_diag"));
        assert_eq!(module_name("tun.ko").as_deref(), Some("tun"));
        assert_eq!(module_name("tun.ko.sig"), None);
        assert_eq!(module_name("modules.dep"), None);
    }
}
