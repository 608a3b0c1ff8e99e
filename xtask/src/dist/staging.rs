//! Lays out the files of packages, with the small tools for that.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::process::{line_of, output};

/// A directory whose content becomes a package.
pub struct Staging {
    root: PathBuf,
}

impl Staging {
    /// Creates an empty one.
    pub fn new(root: PathBuf) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root).with_context(|| format!("can't make {}", root.display()))?;
        set_mode(&root, 0o755)?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file that everyone may read.
    pub fn put(&self, path: &str, content: &[u8]) -> Result<()> {
        self.put_as(path, content, 0o644)
    }

    /// Also sets the mode: 0o755 for programs.
    pub fn put_as(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let target = self.root.join(path);
        // Independent of the umask: packages have the modes set here.
        let parents = Path::new(path).ancestors().skip(1);
        let mut parents: Vec<_> = parents.filter(|parent| *parent != Path::new("")).collect();
        parents.reverse();
        for parent in parents {
            let parent = self.root.join(parent);
            if !parent.is_dir() {
                fs::create_dir(&parent)
                    .with_context(|| format!("can't make {}", parent.display()))?;
                set_mode(&parent, 0o755)?;
            }
        }
        fs::write(&target, content).with_context(|| format!("can't write {}", target.display()))?;
        set_mode(&target, mode)
    }

    /// All files, relative to the directory, sorted.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut left = vec![self.root.clone()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    files.push(path.strip_prefix(&self.root)?.to_owned());
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("can't set the mode of {}", path.display()))
}

/// Compresses by gzip, without name and time.
pub fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    filter(Command::new("gzip").arg("-9n"), content)
}

/// Returns the output of a program for this standard input.
pub fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let line = line_of(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run {line}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let result = std::thread::scope(|scope| {
        // In parallel with reading: either pipe may fill up.
        let writer = scope.spawn(move || stdin.write_all(input));
        let result = child.wait_with_output();
        (writer.join(), result)
    });
    let (Ok(written), done) = result else {
        anyhow::bail!("writing to {line} failed");
    };
    written.with_context(|| format!("can't write to {line}"))?;
    let done = done?;
    ensure!(done.status.success(), "{line} failed with {}", done.status);
    Ok(done.stdout)
}

/// SHA-256 of files, in hexadecimal digits.
pub fn sha256(path: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg("--").arg(path))?;
    let sum = line.split(' ').next().unwrap_or_default();
    Ok(sum.trim_start_matches('\\').to_owned())
}

/// Writes SHA256SUMS for files in the directory, as `sha256sum -c` reads it.
pub fn write_sums(directory: &Path, files: &[&Path]) -> Result<PathBuf> {
    let mut text = String::new();
    for file in files {
        let name = file.strip_prefix(directory)?;
        text.push_str(&format!("{}  {}\n", sha256(file)?, name.display()));
    }
    let sums = directory.join("SHA256SUMS");
    fs::write(&sums, text).with_context(|| format!("can't write {}", sums.display()))?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_more_than_a_pipe_holds() {
        let content = vec![b'x'; 1 << 20];
        assert_eq!(filter(&mut Command::new("cat"), &content).unwrap(), content);
        assert!(filter(&mut Command::new("false"), b"").is_err());
    }
}
