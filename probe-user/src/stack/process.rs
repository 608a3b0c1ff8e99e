//! A process whose addresses are to be resolved: its memory map, its user, and its files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use twtrace_wire::ProcessKey;

use super::mapping::{self, MemoryMapping};
use super::open::{OpenFile, OpenFiles};
use crate::enrich::{pid_namespace, procfs};

/// Maximum length of /proc/PID/status that is read, bytes: a process may have 65,536 groups.
const MAX_STATUS: u64 = 1 << 20;

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoImage {
    /// The process no longer exists.
    Gone,
    /// The kernel denies access.
    Unreadable,
}

/// The address space of a process.
#[derive(Debug)]
pub struct Image {
    pid: u32,
    ids: Ids,
    /// Sorted by address.
    mappings: Vec<MemoryMapping>,
    root: OwnedFd,
    /// Files by name; `None` for those that could not be opened.
    files: HashMap<Rc<[u8]>, Option<Rc<OpenFile>>>,
    /// Found when first needed; `None` if there is none.
    perf_map: Option<Option<Rc<OpenFile>>>,
}

/// From /proc/PID/status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ids {
    /// The user who started it.
    real: u32,
    /// The user whose rights it has.
    effective: u32,
    /// Its pid in its own namespace, which a JIT uses in the name of its file.
    own_pid: u32,
}

/// Whether the process still lives: pids are reused.
pub fn is_alive(process: ProcessKey) -> bool {
    pid_namespace::shown_pid(process)
        .and_then(procfs::start_ticks)
        .is_some_and(|ticks| ticks == procfs::shown_ticks(process.start_boot_ns))
}

/// The user who started a process; `None` if it no longer exists.
pub fn user_of(process: ProcessKey) -> Option<u32> {
    let pid = pid_namespace::shown_pid(process)?;
    Some(Ids::read(pid).ok()?.real)
}

impl Image {
    /// Reads the map of a process. The caller must check afterwards that it was the right process ([`is_alive`]).
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn of(process: ProcessKey) -> Result<Self, NoImage> {
        let pid = pid_namespace::shown_pid(process).ok_or(NoImage::Unreadable)?;
        let why = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => NoImage::Gone,
            _ if error.raw_os_error() == Some(libc::ESRCH) => NoImage::Gone,
            _ => NoImage::Unreadable,
        };
        let maps = File::open(format!("/proc/{pid}/maps")).map_err(why)?;
        let mappings = mapping::read(maps).map_err(why)?.ok_or(NoImage::Gone)?;
        Ok(Self {
            pid,
            ids: Ids::read(pid).map_err(why)?,
            mappings,
            root: File::open(format!("/proc/{pid}/root")).map_err(why)?.into(),
            files: HashMap::new(),
            perf_map: None,
        })
    }

    /// The user who started the process.
    pub fn user(&self) -> u32 {
        self.ids.real
    }

    /// The executable mapping that contains an address.
    pub fn mapping(&self, address: u64) -> Option<&MemoryMapping> {
        mapping::containing(&self.mappings, address)
    }

    /// The file of a mapping.
    pub fn file(&mut self, mapping: &MemoryMapping, files: &mut OpenFiles) -> Option<Rc<OpenFile>> {
        let name = mapping.name.as_ref()?;
        if let Some(file) = self.files.get(name) {
            return file.clone();
        }
        let exe = fs::read_link(format!("/proc/{}/exe", self.pid));
        let is_program = exe.is_ok_and(|target| target.as_os_str().as_bytes() == &**name);
        let opened = match is_program {
            true => files.program(self.pid, mapping, self.ids.real),
            false => files.mapped(mapping, &self.root, self.ids.real),
        };
        let file = self.logged(&String::from_utf8_lossy(name), opened);
        self.files.insert(Rc::clone(name), file.clone());
        file
    }

    /// The symbols of JIT-compiled code.
    pub fn perf_map(&mut self, files: &mut OpenFiles) -> Option<Rc<OpenFile>> {
        if let Some(found) = &self.perf_map {
            return found.clone();
        }
        let path = format!("/tmp/perf-{}.map", self.ids.own_pid);
        let Ids {
            real, effective, ..
        } = self.ids;
        let opened = files.written(Path::new(&path), &self.root, effective, real);
        let found = self.logged(&path, opened);
        self.perf_map = Some(found.clone());
        found
    }

    fn logged(&self, name: &str, opened: io::Result<Rc<OpenFile>>) -> Option<Rc<OpenFile>> {
        opened
            .inspect_err(|error| log::debug!("{name} of process {}: {error}", self.pid))
            .ok()
    }
}

impl Ids {
    fn read(pid: u32) -> io::Result<Self> {
        let mut status = Vec::new();
        File::open(format!("/proc/{pid}/status"))?
            .take(MAX_STATUS)
            .read_to_end(&mut status)?;
        // The name of a program is any bytes.
        Self::parse(&String::from_utf8_lossy(&status), pid)
            .ok_or_else(|| io::Error::other("no user ids"))
    }

    fn parse(status: &str, pid: u32) -> Option<Self> {
        let numbers = |head: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(head));
            let words = line.unwrap_or_default().split_ascii_whitespace();
            words
                .map_while(|word| word.parse().ok())
                .collect::<Vec<u32>>()
        };
        let users = numbers("Uid:");
        Some(Self {
            real: *users.first()?,
            effective: *users.get(1)?,
            own_pid: numbers("NSpid:").last().copied().unwrap_or(pid),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_process() {
        let status = "Name:\ta\nUid:\t5\t0\t0\t0\nGroups:\t1 2\nNSpid:\t70\t3\n";
        let ids = Ids {
            real: 5,
            effective: 0,
            own_pid: 3,
        };
        assert_eq!(Ids::parse(status, 70), Some(ids));
        assert_eq!(Ids::parse("Name:\ta\n", 70), None);
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
        let mut files = OpenFiles::default();
        assert!(image.file(&mapping, &mut files).is_some());
        assert!(image.mapping(8).is_none());
        let libc = libc::getpid as *const () as u64;
        let mapping = image.mapping(libc).unwrap().clone();
        assert!(image.file(&mapping, &mut files).is_some());
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
