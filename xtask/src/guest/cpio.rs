//! An initramfs: a cpio archive in the `newc` format that the kernel unpacks, with the directories that its files need. cpio(1)
//! would need all files in one directory, and root to create the device.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use cpio::newc::{self, Builder};

const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_777;
const CHARACTER: u32 = 0o020_600;

const NO_DEVICE: (u32, u32) = (0, 0);

/// Writes entries, with their parent directories, to `W`.
pub struct CpioArchive<W> {
    out: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> CpioArchive<W> {
    pub fn new(out: W) -> Self {
        Self {
            out,
            inode: 0,
            directories: BTreeSet::new(),
        }
    }

    /// Adds a directory. Paths are absolute; an existing one is left as it is.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        let mut above = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            above.push('/');
            above.push_str(part);
            if self.directories.insert(above.clone()) {
                self.entry(&above, DIRECTORY, NO_DEVICE, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file, with its permission bits.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.directory(parent(path))?;
        self.entry(path, REGULAR | permissions, NO_DEVICE, content)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.directory(parent(path))?;
        self.entry(path, SYMLINK, NO_DEVICE, to.as_bytes())
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.directory(parent(path))?;
        self.entry(path, CHARACTER, (major, minor), &[])
    }

    /// Ends the archive and returns the writer.
    pub fn finish(self) -> io::Result<W> {
        let mut out = newc::trailer(self.out)?;
        out.flush()?;
        Ok(out)
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        (major, minor): (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{path} is too large for a cpio archive")))?;
        // Entries with the same inode would be links to one file.
        self.inode += 1;
        let mut entry = Builder::new(path.trim_start_matches('/'))
            .ino(self.inode)
            .mode(mode)
            .rdev_major(major)
            .rdev_minor(minor)
            .write(&mut self.out, size);
        entry.write_all(content)?;
        entry.finish()?;
        Ok(())
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (name, mode, content) of each entry.
    fn entries(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let reader = newc::Reader::new(archive).unwrap();
            let entry = reader.entry().clone();
            let mut content = Vec::new();
            archive = reader.to_writer(&mut content).unwrap();
            if entry.is_trailer() {
                return found;
            }
            found.push((entry.name().to_owned(), entry.mode(), content));
        }
    }

    #[test]
    fn an_archive_can_be_read_back() {
        let mut archive = CpioArchive::new(Vec::new());
        archive.file("/bin/tool", 0o755, b"12345").unwrap();
        archive.file("/init", 0o755, b"").unwrap();
        archive.symlink("/bin/sh", "tool").unwrap();
        archive.directory("/bin/").unwrap();
        archive.character_device("/dev/console", 5, 1).unwrap();
        let bytes = archive.finish().unwrap();
        let found = entries(&bytes);
        let names: Vec<_> = found.iter().map(|(name, _, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["bin", "bin/tool", "init", "bin/sh", "dev", "dev/console"]
        );
        assert_eq!(found[1].1, 0o100_755);
        assert_eq!(found[1].2, b"12345");
        assert_eq!(found[3].2, b"tool");
    }
}
