//! The `core` library for eBPF programs: precompiled by a distribution, or else its source, which cargo then compiles
//! with them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The target of that `core`.
pub const TARGET: &str = "bpfel-unknown-none";

/// Origin of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Core {
    /// A library that this compiler accepts.
    Ready(PathBuf),
    /// `library/core` of the compiler's own version.
    Source(PathBuf),
}

impl Core {
    /// A file that changes when the library does.
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Ready(library) => library.clone(),
            Self::Source(directory) => directory.join("Cargo.toml"),
        }
    }
}

/// The one in a compiler's own directory, if the compiler accepts it: a library of another version is useless.
pub fn ready(rustc: &Path) -> Option<PathBuf> {
    let mut command = Command::new(rustc);
    command
        .args(["--print", "target-libdir", "--target", TARGET])
        .env_remove("LD_LIBRARY_PATH")
        .stderr(Stdio::null());
    let directory = crate::process::output(&mut command).ok()?;
    let library = library_in(Path::new(directory.trim()))?;
    takes(rustc).then_some(library)
}

fn library_in(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("libcore-") && name.ends_with(".rlib"))
    })
}

/// Whether the compiler compiles an empty library with it. The output is written to standard output: rustc writes a
/// file by renaming another one, which as root replaces any device of that name.
fn takes(rustc: &Path) -> bool {
    let compile = || {
        let mut child = Command::new(rustc)
            .args(["--target", TARGET, "--crate-type", "rlib"])
            .args(["--emit", "metadata=-", "-"])
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut source) = child.stdin.take() {
            source.write_all(b"#![no_std]\n")?;
        }
        child.wait()
    };
    compile().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_told_from_its_metadata() {
        let directory = std::env::temp_dir().join(format!("twtrace-core-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("libcore-00.rmeta"), []).unwrap();
        assert_eq!(library_in(&directory), None);
        let library = directory.join("libcore-00.rlib");
        fs::write(&library, []).unwrap();
        assert_eq!(library_in(&directory), Some(library));
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(library_in(&directory), None);
    }
}
