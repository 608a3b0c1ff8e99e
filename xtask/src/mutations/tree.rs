//! A copy of the workspace to change: with a separate target directory, so that the developers' builds are not
//! affected.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{list::Mutation, replace::replaced};
use crate::{process::output, workspace::Workspace};

pub struct Tree {
    /// Workspace of the copy, for its builds.
    pub workspace: Workspace,
}

impl Tree {
    /// Creates or updates the copy: unchanged files keep their modification times, by which cargo decides what to
    /// build.
    ///
    /// # Errors
    /// If git does not list the files, or they can't be copied.
    pub fn refresh(original: &Workspace) -> Result<Self> {
        let directory = original.target.join("mutations");
        let workspace = Workspace {
            root: directory.join("tree"),
            target: directory.join("target"),
        };
        copy(&original.root, &files(&original.root)?, &workspace.root)?;
        Ok(Self { workspace })
    }

    /// Runs `work` while one file is changed, and then restores the file.
    ///
    /// # Errors
    /// If the file does not match the list, or can't be written.
    pub fn while_changed<T>(&self, mutation: &Mutation, work: impl FnOnce() -> T) -> Result<T> {
        let path = self.workspace.root.join(&mutation.file);
        let failed = || format!("can't change {}", path.display());
        let original = fs::read_to_string(&path).with_context(failed)?;
        let changed = changed(mutation, &original)?;
        fs::write(&path, changed).with_context(failed)?;
        let done = work();
        fs::write(&path, original).with_context(failed)?;
        Ok(done)
    }

    /// Checks that the mutation fits the code.
    ///
    /// # Errors
    /// What does not fit.
    pub fn fits(&self, mutation: &Mutation) -> Result<()> {
        let path = self.workspace.root.join(&mutation.file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{}: can't read {}", mutation.name, mutation.file))?;
        changed(mutation, &text).map(drop)
    }
}

fn changed(mutation: &Mutation, text: &str) -> Result<String> {
    let Mutation {
        find,
        replace,
        occurrence,
        ..
    } = mutation;
    replaced(text, find, replace, *occurrence)
        .with_context(|| format!("{}: {}", mutation.name, mutation.file))
}

/// Files that git tracks, or would add.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut command = std::process::Command::new("git");
    command
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard");
    let names = output(&mut command).context("the files to copy are those that git knows")?;
    let names = names.split('\0').filter(|name| !name.is_empty());
    // A removed file that git still tracks does not exist.
    Ok(names
        .map(PathBuf::from)
        .filter(|name| root.join(name).is_file())
        .collect())
}

fn copy(from: &Path, files: &BTreeSet<PathBuf>, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("can't make {}", to.display()))?;
    remove_others(to, to, files)?;
    for name in files {
        let (source, copy) = (from.join(name), to.join(name));
        let failed = || format!("can't copy {}", source.display());
        let bytes = fs::read(&source).with_context(failed)?;
        if fs::read(&copy).is_ok_and(|known| known == bytes) {
            continue;
        }
        if let Some(directory) = copy.parent() {
            fs::create_dir_all(directory).with_context(failed)?;
        }
        // Also copies the permissions.
        fs::copy(&source, &copy).with_context(failed)?;
    }
    Ok(())
}

/// Removes everything in the copy that is not one of these files.
fn remove_others(directory: &Path, root: &Path, files: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, root, files)?;
            continue;
        }
        if path
            .strip_prefix(root)
            .is_ok_and(|name| !files.contains(name))
        {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_what_is_gone_is_removed() {
        let directory =
            std::env::temp_dir().join(format!("twtrace-mutations-{}", std::process::id()));
        let (from, to) = (directory.join("from"), directory.join("to"));
        let names = |names: &[&str]| names.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        fs::create_dir_all(from.join("src")).unwrap();
        for (name, text) in [("a", "1"), ("src/b", "2")] {
            fs::write(from.join(name), text).unwrap();
        }
        copy(&from, &names(&["a", "src/b"]), &to).unwrap();
        let time = |name: &str| fs::metadata(to.join(name)).unwrap().modified().unwrap();
        let before = time("a");
        fs::write(to.join("stray"), "3").unwrap();
        // Changed by an interrupted run.
        fs::write(to.join("src/b"), "changed").unwrap();
        copy(&from, &names(&["a", "src/b"]), &to).unwrap();
        assert_eq!(fs::read(to.join("src/b")).unwrap(), b"2");
        assert_eq!(time("a"), before);
        assert!(!to.join("stray").exists());
        copy(&from, &names(&["a"]), &to).unwrap();
        assert!(!to.join("src/b").exists());
        fs::remove_dir_all(&directory).unwrap();
    }
}
