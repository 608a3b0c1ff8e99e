//! Debug information: inlined functions, source files and lines.

use std::rc::Rc;

use addr2line::Context;
use gimli::{EndianRcSlice, RunTimeEndian, SectionId};
use object::Endianness;

use super::bytes::Bytes;
use super::elf::{Elf, ElfError};
use super::names::demangled;
use crate::stack::protocol::cut;

type Reader = EndianRcSlice<RunTimeEndian>;

/// Maximum number of functions that are inlined into one another.
const MAX_INLINED: usize = 32;

/// The sections that addr2line reads. Not those that name another file.
const SECTIONS: [SectionId; 11] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTypes,
];

/// Debug information of a file.
pub struct Dwarf(Context<Reader>);

/// A function, and where in its source.
#[derive(Debug)]
pub struct Place {
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
}

impl Dwarf {
    /// Reads the sections; `None` if there are none, or they are larger than `limit` together.
    pub fn read(file: &Bytes, elf: &Elf, limit: usize) -> Option<Self> {
        elf.section(SectionId::DebugInfo.name())?;
        let endian = match elf.endian {
            Endianness::Little => RunTimeEndian::Little,
            Endianness::Big => RunTimeEndian::Big,
        };
        let mut left = limit;
        let sections = gimli::Dwarf::load(|id| {
            let section = elf.section(id.name());
            let section = section.filter(|_| SECTIONS.contains(&id));
            let data = match section {
                Some(section) => elf.data(file, section, left)?,
                None => Vec::new(),
            };
            left -= data.len();
            Ok::<_, ElfError>(Reader::new(Rc::from(data), endian))
        });
        let sections = sections
            .inspect_err(|error| log::debug!("debug information: {error}"))
            .ok()?;
        let context = Context::from_dwarf(sections);
        context
            .inspect_err(|error| log::debug!("debug information: {error}"))
            .ok()
            .map(Self)
    }

    /// The functions at an address, the inlined ones first.
    pub fn find(&self, address: u64) -> Vec<Place> {
        let mut places = Vec::new();
        // Further files of debug information are not read.
        let Ok(mut frames) = self.0.find_frames(address).skip_all_loads() else {
            return places;
        };
        while let Ok(Some(frame)) = frames.next()
            && places.len() < MAX_INLINED
        {
            let name = frame.function.as_ref();
            let location = frame.location.as_ref();
            places.push(Place {
                function: name.and_then(|name| Some(demangled(&name.raw_name().ok()?))),
                file: location.and_then(|it| it.file).map(cut),
                line: location.and_then(|it| it.line),
            });
        }
        places
    }
}
