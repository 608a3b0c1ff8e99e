//! Writing an initramfs: a cpio archive in the `newc` format that the kernel unpacks.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_777;
const CHARACTER: u32 = 0o020_600;

/// Writes entries, with the directories above them, to `W`.
pub struct Archive<W> {
    out: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self {
            out,
            inode: 0,
            directories: BTreeSet::new(),
        }
    }

    /// A directory. Paths are absolute; one that is there already is left as it is.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        let mut above = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            above.push('/');
            above.push_str(part);
            if self.directories.insert(above.clone()) {
                self.entry(&above, DIRECTORY, 0, &[])?;
            }
        }
        Ok(())
    }

    /// A file, with its permission bits.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.directory(parent(path))?;
        self.entry(path, REGULAR | permissions, 0, content)
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.directory(parent(path))?;
        self.entry(path, SYMLINK, 0, to.as_bytes())
    }

    /// A character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.directory(parent(path))?;
        self.entry(path, CHARACTER, major << 16 | minor, &[])
    }

    /// Ends the archive and returns what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// `device` is the major number in the upper 16 bits, the minor in the lower.
    fn entry(&mut self, path: &str, mode: u32, device: u32, content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{path} is too large for a cpio archive")))?;
        self.inode += 1;
        let name = path.trim_start_matches('/');
        let name_size = name.len() as u32 + 1;
        // Inode, mode, uid, gid, links, mtime, size, device (2), rdevice (2), name size, checksum.
        let fields = [
            self.inode,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device >> 16,
            device & 0xffff,
            name_size,
            0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Fills up to a multiple of four bytes.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out
            .write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (name, mode, content) of each entry.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                u32::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16)
                    .unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name =
                String::from_utf8(bytes[at + 110..at + 110 + name_size - 1].to_vec()).unwrap();
            let start = (at + 110 + name_size).next_multiple_of(4);
            found.push((name, mode, bytes[start..start + size].to_vec()));
            at = (start + size).next_multiple_of(4);
        }
        found
    }

    #[test]
    fn an_archive_can_be_read_back() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/bin/tool", 0o755, b"12345").unwrap();
        archive.file("/init", 0o755, b"").unwrap();
        archive.symlink("/bin/sh", "tool").unwrap();
        archive.directory("/bin/").unwrap();
        let found = entries(&archive.finish().unwrap());
        let names: Vec<_> = found.iter().map(|(name, _, _)| name.as_str()).collect();
        assert_eq!(names, ["bin", "bin/tool", "init", "bin/sh", "TRAILER!!!"]);
        assert_eq!(found[1].1, 0o100_755);
        assert_eq!(found[1].2, b"12345");
        assert_eq!(found[3].2, b"tool");
    }

    #[test]
    fn every_part_is_a_multiple_of_four() {
        for length in 0..5 {
            let mut archive = Archive::new(Vec::new());
            archive.file("/x", 0o644, &vec![7; length]).unwrap();
            assert_eq!(archive.finish().unwrap().len() % 4, 0);
        }
    }
}
