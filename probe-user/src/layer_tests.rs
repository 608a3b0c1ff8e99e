//! The folders of this crate, by what they import.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest; those in one row know nothing of each other.
const LAYERS: &[&[&str]] = &[
    &["allocator", "clock", "host", "privilege"],
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

fn rank(name: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&name))
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    entries
        .flat_map(|entry| files(&entry.unwrap().path()))
        .collect()
}

/// Names behind `crate::`, without those in comments and tests.
fn imports(text: &str) -> Vec<String> {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        let is_of_name = |char: char| char.is_ascii_lowercase() || char == '_';
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

#[test]
fn no_folder_needs_a_higher_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "lib" || name.ends_with("_tests") {
            continue;
        }
        let own = rank(&name).unwrap_or_else(|| panic!("{name} has no layer"));
        for file in files(&path) {
            let file_name = file.file_name().unwrap().to_string_lossy().into_owned();
            if !file_name.ends_with(".rs")
                || file_name.ends_with("tests.rs")
                || file_name == "samples.rs"
            {
                continue;
            }
            for import in imports(&fs::read_to_string(&file).unwrap()) {
                let Some(other) = rank(&import) else { continue };
                seen += 1;
                assert!(
                    other < own || import == name,
                    "{} needs {import}, which is no lower layer",
                    file.display()
                );
            }
        }
    }
    assert!(seen > 100, "only {seen} imports were found");
}
