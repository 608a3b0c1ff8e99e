//! How much memory this process uses.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// With more than this, bytes, what was read before is forgotten: a file takes up to [`super::modules::MAX_FILE`], and its
/// parsed form some more, and the process ends if it uses more than it may (`sandbox`).
const SCARCE: u64 = 72 << 20;

/// /proc/self/statm.
#[derive(Debug)]
pub struct Memory(Option<File>);

impl Memory {
    /// With the file, if it could be opened.
    pub fn new(statm: Option<File>) -> Self {
        Self(statm)
    }

    /// Whether little is left.
    pub fn is_scarce(&self) -> bool {
        self.data_bytes().is_some_and(|bytes| bytes > SCARCE)
    }

    fn data_bytes(&self) -> Option<u64> {
        let mut text = [0; 128];
        let length = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        // Size, resident, shared, text, lib, data: pages.
        let pages: u64 = text.split_ascii_whitespace().nth(5)?.parse().ok()?;
        pages.checked_mul(4096)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted() {
        let memory = Memory::new(File::open("/proc/self/statm").ok());
        let before = memory.data_bytes().unwrap();
        let more = vec![1_u8; 256 << 20];
        assert!(memory.data_bytes().unwrap() >= before + (200 << 20));
        assert!(memory.is_scarce());
        drop(more);
        assert!(!Memory::new(None).is_scarce());
    }
}
