//! The layers of this crate, by what its files import.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest.
const LAYERS: [&str; 5] = ["hooks", "event", "filter", "model", "doctor"];

/// What looks at anything but its arguments.
const IO: [&str; 10] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
];

/// The files of a folder, without tests and what they are made of.
fn code(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(code(&path));
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with("tests.rs") || name == "samples.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        found.push((path, lines.collect::<Vec<_>>().join("\n")));
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn no_layer_needs_a_higher_one() {
    for (index, layer) in LAYERS.iter().enumerate() {
        let files = code(&root().join(layer));
        assert!(!files.is_empty(), "{layer} is not there");
        for (path, text) in files {
            for higher in &LAYERS[index + 1..] {
                let import = format!("crate::{higher}");
                assert!(!text.contains(&import), "{} has {import}", path.display());
            }
        }
    }
}

#[test]
fn nothing_is_read_or_timed() {
    for (path, text) in code(&root()) {
        for io in IO {
            assert!(!text.contains(io), "{} has {io}", path.display());
        }
        // A system call is made by no other means. These two take records out of memory.
        let may_be_unsafe = ["event/batch.rs", "event/decode.rs"]
            .iter()
            .any(|it| path.ends_with(it));
        assert!(
            may_be_unsafe || !text.contains("unsafe "),
            "{} has unsafe code",
            path.display()
        );
    }
}
