//! A process's memory map, and its mapped files.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use twtrace_wire::ProcessKey;

use super::perf_map::PerfMap;
use crate::enrich::{pid_namespace, procfs};

/// Maximum number of mappings that are read: a hostile process may have any number.
const MAX_MAPPINGS: usize = 65_536;

/// An executable mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMapping {
    /// First address.
    pub start: u64,
    /// One after the last address.
    pub end: u64,
    /// Offset of its start in the file.
    pub offset: u64,
    /// Inode number of the file, or 0.
    pub inode: u64,
    /// Path in the process's own root or in ours, or a name such as `[vdso]`; `None` for anonymous memory.
    pub name: Option<Vec<u8>>,
}

impl MemoryMapping {
    /// Parses one line of /proc/PID/maps; `None` if the mapping is not executable.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let text = |field: Option<&[u8]>| -> Option<String> {
            Some(std::str::from_utf8(field?).ok()?.to_owned())
        };
        let range = text(fields.next())?;
        if !fields.next()?.contains(&b'x') {
            return None;
        }
        let offset = text(fields.next())?;
        let inode = text(fields.nth(1))?;
        let name = fields.next().unwrap_or_default().trim_ascii_start();
        let (start, end) = range.split_once('-')?;
        let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
        Some(Self {
            start: hex(start)?,
            end: hex(end)?,
            offset: hex(&offset)?,
            inode: inode.parse().ok()?,
            name: (!name.is_empty()).then(|| name.to_vec()),
        })
    }

    /// The file offset of an address.
    pub fn file_offset(&self, address: u64) -> u64 {
        address - self.start + self.offset
    }

    /// Its path, if it is a file that still has one.
    fn path(&self) -> Option<&Path> {
        let name = self.name.as_deref()?;
        let is_path = name.starts_with(b"/") && !name.ends_with(b" (deleted)");
        is_path.then(|| Path::new(OsStr::from_bytes(name)))
    }
}

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoImage {
    /// The process no longer exists.
    Gone,
    /// The kernel denies access.
    Unreadable,
}

/// The address space of a process, to resolve its addresses.
#[derive(Debug)]
pub struct Image {
    pid: u32,
    /// Sorted by address.
    mappings: Vec<MemoryMapping>,
    root: OwnedFd,
    /// Files by name; `None` for those that could not be opened.
    files: HashMap<Vec<u8>, Option<Rc<File>>>,
    /// Read when first needed.
    perf_map: Option<PerfMap>,
}

/// Whether the process still lives: pids are reused.
pub fn is_alive(process: ProcessKey) -> bool {
    pid_namespace::shown_pid(process)
        .and_then(procfs::start_ticks)
        .is_some_and(|ticks| ticks == procfs::shown_ticks(process.start_boot_ns))
}

impl Image {
    /// Reads the map of a process. The caller must check afterwards that it was the right process ([`is_alive`]).
    pub fn of(process: ProcessKey) -> Result<Self, NoImage> {
        let pid = pid_namespace::shown_pid(process).ok_or(NoImage::Unreadable)?;
        let why = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => NoImage::Gone,
            _ if error.raw_os_error() == Some(libc::ESRCH) => NoImage::Gone,
            _ => NoImage::Unreadable,
        };
        let maps = fs::read(format!("/proc/{pid}/maps")).map_err(why)?;
        if maps.is_empty() {
            // It is exiting.
            return Err(NoImage::Gone);
        }
        Ok(Self {
            pid,
            mappings: parse(&maps),
            root: File::open(format!("/proc/{pid}/root")).map_err(why)?.into(),
            files: HashMap::new(),
            perf_map: None,
        })
    }

    /// The executable mapping that contains an address.
    pub fn mapping(&self, address: u64) -> Option<&MemoryMapping> {
        let after = self
            .mappings
            .partition_point(|mapping| mapping.start <= address);
        let mapping = self.mappings.get(after.checked_sub(1)?)?;
        (address < mapping.end).then_some(mapping)
    }

    /// The file of a mapping.
    pub fn file(&mut self, mapping: &MemoryMapping) -> Option<Rc<File>> {
        let name = mapping.name.as_ref()?;
        if let Some(file) = self.files.get(name) {
            return file.clone();
        }
        let opened = self.open_mapped(mapping, name);
        let file = opened
            .inspect_err(|error| {
                log::debug!(
                    "{} of process {}: {error}",
                    String::from_utf8_lossy(name),
                    self.pid
                );
            })
            .ok()
            .map(Rc::new);
        self.files.insert(name.clone(), file.clone());
        file
    }

    /// Opens the program itself, even if its file was replaced while it runs; otherwise by its path in the process's
    /// root, else in ours: the kernel prints paths relative to the reader's root if they can be reached from there (a
    /// process in a chroot).
    fn open_mapped(&self, mapping: &MemoryMapping, name: &[u8]) -> io::Result<File> {
        let exe = format!("/proc/{}/exe", self.pid);
        if fs::read_link(&exe).is_ok_and(|target| target.as_os_str().as_bytes() == name) {
            return File::open(exe);
        }
        let path = mapping.path().ok_or(io::ErrorKind::NotFound)?;
        self.open(path).or_else(|_| {
            let file = open_in(&File::open("/")?.into(), path)?;
            if file.metadata()?.ino() == mapping.inode {
                Ok(file)
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        })
    }

    /// Opens a regular file in the process's own root.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        open_in(&self.root, path)
    }

    /// The symbols of JIT-compiled code.
    pub fn perf_map(&mut self) -> &PerfMap {
        if self.perf_map.is_none() {
            let path = format!("/tmp/perf-{}.map", procfs_ns_pid(self.pid));
            let map = self
                .open(Path::new(&path))
                .map(|file| PerfMap::read(&file))
                .unwrap_or_default();
            self.perf_map = Some(map);
        }
        self.perf_map.get_or_insert_default()
    }
}

/// Opens a regular file below a root directory. Symbolic links can't leave it, and opening never blocks: the owner of
/// the process may have put anything there.
fn open_in(root: &OwnedFd, path: &Path) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a struct of integers, for which zero is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    how.flags = u64::from(flags.unsigned_abs());
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: a path that ends with NUL, and a struct of the given size.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: a descriptor that was created just now, without another owner.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// Executable mappings, sorted by address.
fn parse(maps: &[u8]) -> Vec<MemoryMapping> {
    let lines = maps.split(|byte| *byte == b'\n');
    let mut mappings: Vec<MemoryMapping> = lines
        .filter_map(MemoryMapping::parse)
        .take(MAX_MAPPINGS)
        .collect();
    mappings.sort_by_key(|mapping| mapping.start);
    mappings
}

/// The pid in the process's own namespace, which a JIT uses in the name of its file.
fn procfs_ns_pid(pid: u32) -> u32 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("NSpid:"))?;
            line.split_whitespace().next_back()?.parse().ok()
        })
        .unwrap_or(pid)
}

/// The name of a mapping, as it is displayed.
pub fn shown(name: &[u8]) -> String {
    std::ffi::OsString::from_vec(name.to_vec())
        .to_string_lossy()
        .into_owned()
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
        let mappings = parse(MAPS);
        assert_eq!(mappings.len(), 3);
        assert_eq!(mappings[0].name, None);
        assert_eq!(mappings[1].path(), Some(Path::new("/usr/bin/a b")));
        assert_eq!(mappings[1].file_offset(0x40_0010), 0x1010);
        assert_eq!(mappings[2].path(), None);
    }

    #[test]
    fn this_process_has_an_image() {
        let pid = std::process::id();
        let key = ProcessKey {
            tgid: pid,
            unattributed: 0,
            start_boot_ns: procfs::boot_ns_of_ticks(procfs::start_ticks(pid).unwrap()),
        };
        let mut image = Image::of(key).unwrap();
        assert!(is_alive(key));
        let here = this_process_has_an_image as *const () as u64;
        let mapping = image.mapping(here).unwrap().clone();
        assert!(image.file(&mapping).is_some());
        assert!(image.mapping(8).is_none());
        assert!(image.open(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn no_process_is_gone() {
        let key = ProcessKey {
            tgid: u32::MAX >> 1,
            ..ProcessKey::default()
        };
        assert_eq!(Image::of(key).err(), Some(NoImage::Gone));
    }
}
