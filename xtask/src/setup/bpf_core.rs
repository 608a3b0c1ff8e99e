//! The `core` that eBPF programs are linked with: ready, where a distribution has compiled it, else its source, which
//! cargo then compiles with them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The target whose `core` it is.
pub const TARGET: &str = "bpfel-unknown-none";

/// Where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Core {
    /// A library that this compiler takes.
    Ready(PathBuf),
    /// `library/core` of the compiler's own version.
    Source(PathBuf),
}

impl Core {
    /// A file that changes when it does.
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Ready(library) => library.clone(),
            Self::Source(directory) => directory.join("Cargo.toml"),
        }
    }
}

/// The one in a compiler's own directory, if the compiler takes it: a library of another version is of no use.
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

/// Whether the compiler compiles an empty library with it. The library goes to standard output: rustc writes a file by
/// renaming another, which as root replaces any device of that name.
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
