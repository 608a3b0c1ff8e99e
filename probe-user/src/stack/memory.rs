//! How much memory a process that can open nothing uses.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The usual page. Larger ones make the limits lower than they could be.
const PAGE: u64 = 4096;

/// Bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Address space.
    pub addresses: u64,
    /// What may be written to.
    pub data: u64,
}

/// /proc/self/statm.
#[derive(Debug)]
pub struct Memory {
    /// `None` if it could not be opened.
    statm: Option<File>,
    /// At the start.
    pub at_start: Used,
}

impl Memory {
    /// Opens the file.
    pub fn open() -> Self {
        let mut memory = Self {
            statm: File::open("/proc/self/statm").ok(),
            at_start: Used::default(),
        };
        memory.at_start = memory.used().unwrap_or_default();
        memory
    }

    /// Whether the process has taken more than this, bytes.
    pub fn exceeds(&self, bytes: u64) -> bool {
        let most = self.at_start.data + bytes;
        self.used().is_some_and(|used| used.data > most)
    }

    fn used(&self) -> Option<Used> {
        let mut text = [0; 128];
        let length = self.statm.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        // Size, resident, shared, text, lib, data: pages.
        let pages =
            |index| -> Option<u64> { text.split_ascii_whitespace().nth(index)?.parse().ok() };
        Some(Used {
            addresses: pages(0)?.checked_mul(PAGE)?,
            data: pages(5)?.checked_mul(PAGE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted() {
        let mut memory = Memory::open();
        assert!(memory.at_start.data > 0);
        memory.at_start = Used::default();
        let more = vec![1_u8; 100 << 20];
        assert!(memory.exceeds(more.len() as u64));
        assert!(!memory.exceeds(u64::MAX));
        memory.statm = None;
        assert!(!memory.exceeds(0));
    }
}
