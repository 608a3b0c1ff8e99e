//! The files of a root, to be compared before and after.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// What dpkg and its helpers keep of everything that was ever installed.
const NOT_OURS: [&str; 4] = [
    "/var/lib/dpkg",
    "/var/log",
    "/var/cache/man",
    "/var/cache/ldconfig",
];

/// Files and directories, each with a hash of its owner, mode and content.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, u64>);

impl Snapshot {
    /// All files below a directory; paths begin with `/` as they do inside the root.
    ///
    /// # Errors
    /// If something can't be read.
    pub fn of(root: &Path) -> Result<Self> {
        let mut all = BTreeMap::new();
        let mut left = vec![root.to_owned()];
        while let Some(directory) = left.pop() {
            let entries = fs::read_dir(&directory)
                .with_context(|| format!("can't read {}", directory.display()))?;
            for entry in entries {
                let path = entry?.path();
                let inside = Path::new("/").join(path.strip_prefix(root)?);
                if NOT_OURS
                    .iter()
                    .any(|beginning| inside.starts_with(beginning))
                {
                    continue;
                }
                let about = fs::symlink_metadata(&path)?;
                let mut sum = DefaultHasher::new();
                (about.mode(), about.uid(), about.gid()).hash(&mut sum);
                if about.is_symlink() {
                    fs::read_link(&path)?.hash(&mut sum);
                } else if about.is_file() {
                    fs::read(&path)?.hash(&mut sum);
                } else if about.is_dir() {
                    left.push(path);
                }
                all.insert(inside, sum.finish());
            }
        }
        Ok(Self(all))
    }

    /// Paths that are new, missing or changed in a later snapshot: `+`, `-` or `*` and the path.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, sum) in &later.0 {
            match self.0.get(path) {
                None => lines.push(format!("+{}", path.display())),
                Some(before) if before != sum => lines.push(format!("*{}", path.display())),
                Some(_) => {}
            }
        }
        let gone = self.0.keys().filter(|path| !later.0.contains_key(*path));
        lines.extend(gone.map(|path| format!("-{}", path.display())));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_gone_or_changed_is_listed() {
        let snapshot = |files: &[(&str, u64)]| {
            let files = files.iter();
            Snapshot(
                files
                    .map(|(path, sum)| (PathBuf::from(path), *sum))
                    .collect(),
            )
        };
        let before = snapshot(&[("/a", 1), ("/b", 1), ("/c", 1)]);
        let after = snapshot(&[("/a", 1), ("/b", 2), ("/d", 1)]);
        assert_eq!(before.differences(&after), ["*/b", "+/d", "-/c"]);
        assert!(before.differences(&before).is_empty());
    }

    #[test]
    fn a_mode_is_a_difference() {
        use std::os::unix::fs::PermissionsExt;
        let root = std::env::temp_dir().join(format!("twtrace-snapshot-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/x"), "").unwrap();
        let before = Snapshot::of(&root).unwrap();
        fs::set_permissions(root.join("etc/x"), fs::Permissions::from_mode(0o700)).unwrap();
        let after = Snapshot::of(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(before.differences(&after), ["*/etc/x"]);
    }
}
