//! What was read of files, by their numbers.

use std::collections::HashMap;
use std::fs::File;

use super::bytes::Bytes;
use super::dwarf::Dwarf;
use super::elf::Elf;
use super::perf_map::PerfMap;
use super::symbols::Symbols;
use super::tables::Tables;

/// Maximum length of a file's debug information, bytes.
pub const MAX_FILE: usize = 40 << 20;
/// Files that are kept open: fewer than this process may have.
const MAX_OPEN: usize = 40;

/// Files that were passed to this process.
#[derive(Default)]
pub struct Modules {
    files: HashMap<u64, Module>,
    /// Counts requests.
    used: u64,
}

/// A file.
pub struct Module {
    bytes: Bytes,
    used: u64,
    elf: Lazy<Elf>,
    tables: Lazy<Tables>,
    symbols: Lazy<Symbols>,
    dwarf: Lazy<Dwarf>,
    perf_map: Lazy<PerfMap>,
}

/// Read when first needed; `None` inside if it can't be.
type Lazy<T> = Option<Option<T>>;

impl Modules {
    /// Adds a file, unless it is known.
    pub fn add(&mut self, number: u64, file: File) {
        self.used += 1;
        let used = self.used;
        let add = || Module {
            bytes: Bytes(file),
            used,
            elf: None,
            tables: None,
            symbols: None,
            dwarf: None,
            perf_map: None,
        };
        self.files.entry(number).or_insert_with(add).used = used;
        if self.files.len() > MAX_OPEN
            && let Some(oldest) = self.oldest()
        {
            self.files.remove(&oldest);
        }
    }

    fn oldest(&self) -> Option<u64> {
        let oldest = self.files.iter().min_by_key(|(_, module)| module.used);
        oldest.map(|(number, _)| *number)
    }

    /// Forgets all but these.
    pub fn keep_only(&mut self, numbers: &[u64]) {
        self.files.retain(|number, _| numbers.contains(number));
    }

    /// A file by its number.
    pub fn get(&mut self, number: u64) -> Option<&mut Module> {
        self.files.get_mut(&number)
    }
}

impl Module {
    fn elf(&mut self) -> Option<(&Bytes, &Elf)> {
        let Self { bytes, elf, .. } = self;
        let elf = elf.get_or_insert_with(|| {
            let read = Elf::read(bytes);
            read.inspect_err(|error| log::debug!("{error}")).ok()
        });
        Some((bytes, elf.as_ref()?))
    }

    /// Its unwind tables.
    pub fn tables(&mut self) -> Option<&Tables> {
        if self.tables.is_none() {
            let read = self.elf().and_then(|(bytes, elf)| Tables::read(bytes, elf));
            self.tables = Some(read);
        }
        self.tables.as_ref()?.as_ref()
    }

    /// The file's own address of a file offset.
    pub fn address_of(&mut self, offset: u64) -> Option<u64> {
        self.elf()?.1.address_of(offset)
    }

    /// The name of the function at an address, and the offset from its start.
    pub fn symbol(&mut self, address: u64) -> Option<(Vec<u8>, u64)> {
        if self.symbols.is_none() {
            let read = self.elf().map(|(bytes, elf)| Symbols::read(bytes, elf));
            self.symbols = Some(read);
        }
        let symbols = self.symbols.as_ref()?.as_ref()?;
        symbols.find(&self.bytes, address)
    }

    /// Its debug information.
    pub fn dwarf(&mut self) -> Option<&Dwarf> {
        if self.dwarf.is_none() {
            let read = self.elf();
            let read = read.and_then(|(bytes, elf)| Dwarf::read(bytes, elf, MAX_FILE));
            self.dwarf = Some(read);
        }
        self.dwarf.as_ref()?.as_ref()
    }

    /// Its functions, if it is a map of JIT symbols.
    pub fn perf_map(&mut self) -> Option<&PerfMap> {
        let Self {
            bytes, perf_map, ..
        } = self;
        let map = perf_map.get_or_insert_with(|| PerfMap::read(bytes).ok());
        map.as_ref()
    }
}
