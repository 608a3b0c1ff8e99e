//! Executable mappings of a process, from /proc/PID/maps.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// Maximum length of what is read, bytes: a hostile process may have any number of mappings, with names of 4 KiB.
const MAX_BYTES: u64 = 16 << 20;
/// Maximum number of executable mappings that are kept.
const MAX_MAPPINGS: usize = 8_192;
/// Maximum length of all their names, bytes.
const MAX_NAMES: usize = 1 << 20;

/// An executable mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMapping {
    /// First address.
    pub start: u64,
    /// One after the last address.
    pub end: u64,
    /// Offset of its start in the file.
    pub offset: u64,
    /// Device of the file: major and minor number.
    pub device: (u32, u32),
    /// Inode number of the file, or 0.
    pub inode: u64,
    /// Path in the process's own root or in ours, or a name such as `[vdso]`; `None` for anonymous memory.
    pub name: Option<Rc<[u8]>>,
}

impl MemoryMapping {
    /// Parses one line; `None` if the mapping is not executable.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let mut text = || -> Option<&str> { std::str::from_utf8(fields.next()?).ok() };
        let (range, rights, offset, device, inode) = (text()?, text()?, text()?, text()?, text()?);
        if !rights.contains('x') {
            return None;
        }
        let name = fields.next().unwrap_or_default().trim_ascii_start();
        let (start, end) = range.split_once('-')?;
        let (major, minor) = device.split_once(':')?;
        let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
        Some(Self {
            start: hex(start)?,
            end: hex(end)?,
            offset: hex(offset)?,
            device: (number(major)?, number(minor)?),
            inode: inode.parse().ok()?,
            name: (!name.is_empty()).then(|| name.into()),
        })
    }

    /// The file offset of an address.
    pub fn file_offset(&self, address: u64) -> u64 {
        address.wrapping_sub(self.start).wrapping_add(self.offset)
    }

    /// Its path, if it is a file that still has one.
    pub fn path(&self) -> Option<&Path> {
        let name = self.name.as_deref()?;
        let is_path = name.starts_with(b"/") && !name.ends_with(b" (deleted)");
        is_path.then(|| Path::new(OsStr::from_bytes(name)))
    }
}

/// Executable mappings, sorted by address; `None` if the file is empty, because the process is exiting.
///
/// # Errors
/// If it can't be read.
pub fn read(maps: impl Read) -> io::Result<Option<Vec<MemoryMapping>>> {
    let mut lines = BufReader::new(maps.take(MAX_BYTES));
    let mut mappings: Vec<MemoryMapping> = Vec::new();
    let (mut line, mut is_empty, mut names) = (Vec::new(), true, 0);
    while mappings.len() < MAX_MAPPINGS && names < MAX_NAMES {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        is_empty = false;
        let Some(mut mapping) = MemoryMapping::parse(line.strip_suffix(b"\n").unwrap_or(&line))
        else {
            continue;
        };
        match mappings.last() {
            Some(last) if last.name == mapping.name => mapping.name.clone_from(&last.name),
            _ => names += mapping.name.as_ref().map_or(0, |name| name.len()),
        }
        mappings.push(mapping);
    }
    mappings.sort_by_key(|mapping| mapping.start);
    Ok((!is_empty).then_some(mappings))
}

/// The mapping that contains an address, of those that are sorted.
pub fn containing(mappings: &[MemoryMapping], address: u64) -> Option<&MemoryMapping> {
    let after = mappings.partition_point(|mapping| mapping.start <= address);
    let mapping = mappings.get(after.checked_sub(1)?)?;
    (address < mapping.end).then_some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a b\n\
        00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/a b\n\
        7f00-7f10 r-xp 00000000 00:00 0 \n\
        7ffd9e1f0000-7ffd9e1f2000 r-xp 00000000 00:00 0                          [vdso]\n\
        not a line\n";

    #[test]
    fn executable_mappings_are_read() {
        let mappings = read(MAPS).unwrap().unwrap();
        assert_eq!(mappings.len(), 3);
        assert_eq!(mappings[0].name, None);
        assert_eq!(mappings[1].path(), Some(Path::new("/usr/bin/a b")));
        assert_eq!((mappings[1].device, mappings[1].inode), ((8, 2), 173_521));
        assert_eq!(mappings[1].file_offset(0x40_0010), 0x1010);
        assert_eq!(mappings[2].path(), None);
        assert!(read(&b""[..]).unwrap().is_none());
        assert_eq!(containing(&mappings, 0x45_1fff), Some(&mappings[1]));
        assert_eq!(containing(&mappings, 0x45_2000), None);
    }

    #[test]
    fn any_number_of_mappings_is_bounded() {
        let line = |index: usize| {
            let name = "n".repeat(4_000);
            format!("{index:x}0-{index:x}8 r-xp 0 00:00 1 /{index}{name}\n")
        };
        let many: String = (1..5_000).map(line).collect();
        let kept = read(many.as_bytes()).unwrap().unwrap();
        let names = kept.iter().flat_map(|it| it.name.as_ref());
        assert!(names.map(|name| name.len()).sum::<usize>() < MAX_NAMES + 8_192);
    }
}
