//! The folders of this crate and of the core below it, and their imports; also checks that the core does no I/O and
//! reads no clocks.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest; those in one row do not import each other.
type Layers = &'static [&'static [&'static str]];

const CORE: Layers = &[
    &["hooks", "nearest"],
    &["event"],
    &["filter"],
    &["model"],
    &["doctor"],
    &["explain"],
];

const LIBRARY: Layers = &[
    &[
        "allocator",
        "attempts",
        "caller",
        "clock",
        "host",
        "privilege",
        "system_calls",
    ],
    &["place"],
    &["confine", "enrich"],
    &["probe", "scan"],
    &["stack"],
    &["record", "session"],
    &["store"],
    &["output"],
    &["schema"],
    &["cli"],
    &["serve"],
    &["command", "path"],
];

/// Anything that reads more than its arguments.
const IO: [&str; 12] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "TimeZone::system",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
];

/// They read records from memory. Without unsafe code there is no system call.
const MAY_BE_UNSAFE: [&str; 2] = ["event/batch.rs", "event/decode.rs"];

/// Root of this crate, or of another one below it.
pub fn root(below: &str) -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_root.join(below).join("src")
}

/// The code of a file, or of all files in a folder, without comments, tests and test helpers.
pub fn code(path: &Path) -> Vec<(PathBuf, String)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries
            .flat_map(|entry| code(&entry.unwrap().path()))
            .collect();
    }
    if !name.ends_with(".rs") || name.ends_with("tests.rs") || name == "samples.rs" {
        return Vec::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let lines: Vec<&str> = text.lines().filter(is_code).collect();
    vec![(path.to_owned(), lines.join("\n"))]
}

/// Names after `crate::`.
fn imports(text: &str) -> Vec<String> {
    let is_of_name = |char: char| char.is_ascii_lowercase() || char == '_';
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        let names: Vec<&str> = match part.strip_prefix('{') {
            Some(group) => group
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .collect(),
            None => vec![part],
        };
        found.extend(names.iter().filter_map(|name| {
            let name = name.trim();
            let end = name.find(|char| !is_of_name(char)).unwrap_or(name.len());
            (end > 0).then(|| name[..end].to_owned())
        }));
    }
    found
}

/// Checks that no import is of a layer that is not lower; returns the number of imports of other folders.
fn check(root: &Path, layers: Layers) -> usize {
    let rank = |name: &str| layers.iter().position(|row| row.contains(&name));
    let mut seen = 0;
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "lib" || name.ends_with("_tests") {
            continue;
        }
        let own = rank(&name).unwrap_or_else(|| panic!("{name} has no layer"));
        for (file, text) in code(&path) {
            for import in imports(&text) {
                let Some(other) = rank(&import).filter(|_| import != name) else {
                    continue;
                };
                seen += 1;
                assert!(
                    other < own,
                    "{} needs {import}, which is no lower layer",
                    file.display()
                );
            }
        }
    }
    seen
}

#[test]
fn no_folder_needs_a_higher_one() {
    for (below, layers) in [("", LIBRARY), ("core", CORE)] {
        let seen = check(&root(below), layers);
        assert!(seen > 50, "only {seen} imports were found");
    }
}

#[test]
fn nothing_in_the_core_is_read_or_timed() {
    let files = code(&root("core"));
    assert!(files.len() > 50, "only {} files were found", files.len());
    for (path, text) in files {
        for io in IO {
            assert!(!text.contains(io), "{} has {io}", path.display());
        }
        let may_be_unsafe = MAY_BE_UNSAFE.iter().any(|it| path.ends_with(it));
        assert!(
            may_be_unsafe || !text.contains("unsafe "),
            "{} has unsafe code",
            path.display()
        );
    }
}
