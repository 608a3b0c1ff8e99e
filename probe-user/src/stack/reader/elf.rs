//! The headers of an ELF file, and its sections.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHF_COMPRESSED, SHT_NOBITS};
use object::pod::slice_from_all_bytes;
use object::read::elf::{CompressionHeader, FileHeader, ProgramHeader, SectionHeader, Sym};

use super::bytes::{Bytes, BytesError};

/// Maximum number of sections and of segments.
const MAX_SECTIONS: u64 = 65_536;
/// Maximum length of the sections' names, bytes.
const MAX_NAMES: usize = 2 << 20;

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// A part of it can't be read.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// It is not well-formed.
    #[error("not an ELF file: {0}")]
    Malformed(#[from] object::Error),
    /// A table is not well-formed.
    #[error("a table of another size")]
    Table,
    /// A compressed section is not of the kind that is read, or does not have the stated size.
    #[error("a compressed section that can't be read")]
    Compressed,
}

/// Headers.
#[derive(Debug)]
pub struct Elf {
    pub is_64: bool,
    pub endian: Endianness,
    pub segments: Vec<Segment>,
    pub sections: Vec<Section>,
}

/// A part that is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub is_executable: bool,
    pub offset: u64,
    pub address: u64,
    pub file_bytes: u64,
}

/// A section.
#[derive(Clone, Debug)]
pub struct Section {
    pub name: Vec<u8>,
    pub kind: u32,
    pub address: u64,
    pub offset: u64,
    pub bytes: u64,
    /// Index of the section that belongs to it.
    pub link: u32,
    is_compressed: bool,
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub struct RawSymbol {
    pub address: u64,
    pub bytes: u64,
    /// Offset of its name.
    pub name: u32,
    pub kind: u8,
    pub is_defined: bool,
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// If it is not an ELF file.
    pub fn read(file: &Bytes) -> Result<Self, ElfError> {
        let head = file.read_some(0, 64).map_err(BytesError::from)?;
        // EI_CLASS
        match head.get(4) {
            Some(1) => Self::parse::<FileHeader32<Endianness>>(file, &head),
            _ => Self::parse::<FileHeader64<Endianness>>(file, &head),
        }
    }

    fn parse<H: FileHeader<Endian = Endianness>>(
        file: &Bytes,
        head: &[u8],
    ) -> Result<Self, ElfError> {
        let header = H::parse(head)?;
        let endian = header.endian()?;
        let mut elf = Self {
            is_64: header.is_class_64(),
            endian,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        let count = u64::from(header.e_phnum(endian));
        let segments = table::<H::ProgramHeader>(file, header.e_phoff(endian).into(), count)?;
        for segment in slice::<H::ProgramHeader>(&segments)? {
            if segment.p_type(endian) == object::elf::PT_LOAD {
                elf.segments.push(Segment {
                    is_executable: segment.p_flags(endian) & object::elf::PF_X != 0,
                    offset: segment.p_offset(endian).into(),
                    address: segment.p_vaddr(endian).into(),
                    file_bytes: segment.p_filesz(endian).into(),
                });
            }
        }
        let offset = header.e_shoff(endian).into();
        let first = table::<H::SectionHeader>(file, offset, 1).unwrap_or_default();
        let Some(first) = slice::<H::SectionHeader>(&first)?.first() else {
            // Stripped of its sections.
            return Ok(elf);
        };
        let count = match header.e_shnum(endian) {
            0 => first.sh_size(endian).into(),
            count => u64::from(count),
        };
        let names = match u32::from(header.e_shstrndx(endian)) {
            0xffff => first.sh_link(endian),
            index => index,
        };
        let sections = table::<H::SectionHeader>(file, offset, count)?;
        for section in slice::<H::SectionHeader>(&sections)? {
            elf.sections.push(Section {
                name: section.sh_name(endian).to_ne_bytes().to_vec(),
                kind: section.sh_type(endian),
                address: section.sh_addr(endian).into(),
                offset: section.sh_offset(endian).into(),
                bytes: section.sh_size(endian).into(),
                link: section.sh_link(endian),
                is_compressed: section.sh_flags(endian).into() & u64::from(SHF_COMPRESSED) != 0,
            });
        }
        elf.read_names(file, names)?;
        Ok(elf)
    }

    /// Replaces the offsets of names by the names.
    fn read_names(&mut self, file: &Bytes, index: u32) -> Result<(), ElfError> {
        let Some(names) = self.linked(index) else {
            return Err(ElfError::Table);
        };
        let names = file.read(names.offset, names.bytes, MAX_NAMES)?;
        for section in &mut self.sections {
            let offset = section.name[..4].try_into().map_or(0, u32::from_ne_bytes);
            let name = names.get(offset as usize..).unwrap_or_default();
            // Longer names are of no interest here.
            let name = name.get(..64).unwrap_or(name);
            let end = memchr::memchr(0, name).unwrap_or(name.len());
            section.name = name[..end].to_vec();
        }
        Ok(())
    }

    /// The section with an index.
    pub fn linked(&self, index: u32) -> Option<&Section> {
        self.sections.get(usize::try_from(index).ok()?)
    }

    /// The section with a name, if it has content in the file.
    pub fn section(&self, name: &str) -> Option<&Section> {
        let found = self.sections.iter().find(|it| it.name == name.as_bytes())?;
        (found.kind != SHT_NOBITS && found.bytes > 0).then_some(found)
    }

    /// Reads a section, and decompresses it.
    ///
    /// # Errors
    /// If it, or what it contains, is longer than `limit`, or can't be read.
    pub fn data(&self, file: &Bytes, section: &Section, limit: usize) -> Result<Vec<u8>, ElfError> {
        let data = file.read(section.offset, section.bytes, limit)?;
        if !section.is_compressed {
            return Ok(data);
        }
        match self.is_64 {
            true => self.decompressed::<FileHeader64<Endianness>>(&data, limit),
            false => self.decompressed::<FileHeader32<Endianness>>(&data, limit),
        }
    }

    fn decompressed<H: FileHeader<Endian = Endianness>>(
        &self,
        data: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, ElfError> {
        let (header, rest) =
            object::pod::from_bytes::<H::CompressionHeader>(data).map_err(|()| ElfError::Table)?;
        let stated: u64 = header.ch_size(self.endian).into();
        let stated = usize::try_from(stated).map_err(|_| ElfError::Compressed)?;
        if header.ch_type(self.endian) != object::elf::ELFCOMPRESS_ZLIB || stated > limit {
            return Err(ElfError::Compressed);
        }
        // It takes memory as data comes out, up to the stated size.
        miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(rest, stated)
            .map_err(|_| ElfError::Compressed)
    }

    /// Calls `each` with the symbols of a table, in pieces.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn symbols(
        &self,
        file: &Bytes,
        table: &Section,
        limit: usize,
        each: impl FnMut(RawSymbol),
    ) -> Result<(), ElfError> {
        match self.is_64 {
            true => self.symbols_of::<FileHeader64<Endianness>>(file, table, limit, each),
            false => self.symbols_of::<FileHeader32<Endianness>>(file, table, limit, each),
        }
    }

    fn symbols_of<H: FileHeader<Endian = Endianness>>(
        &self,
        file: &Bytes,
        table: &Section,
        limit: usize,
        mut each: impl FnMut(RawSymbol),
    ) -> Result<(), ElfError> {
        /// Symbols that are read at a time.
        const PIECE: u64 = 16_384;
        let endian = self.endian;
        let size = size_of::<H::Sym>() as u64;
        if table.bytes > limit as u64 {
            return Err(BytesError::TooLong(table.bytes).into());
        }
        let count = table.bytes / size;
        for first in (0..count).step_by(PIECE as usize) {
            let offset = table.offset.checked_add(first * size);
            let length = PIECE.min(count - first) * size;
            let piece = file.read(offset.ok_or(ElfError::Table)?, length, limit)?;
            for symbol in slice::<H::Sym>(&piece)? {
                each(RawSymbol {
                    address: symbol.st_value(endian).into(),
                    bytes: symbol.st_size(endian).into(),
                    name: symbol.st_name(endian),
                    kind: symbol.st_type(),
                    is_defined: symbol.st_shndx(endian) != object::elf::SHN_UNDEF,
                });
            }
        }
        Ok(())
    }

    /// The file's own address of a file offset.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        let contains = |it: &&Segment| it.offset <= offset && offset - it.offset < it.file_bytes;
        let mut found = self.segments.iter().filter(contains);
        // Segments may share a page; code is meant.
        let segment = found
            .clone()
            .find(|segment| segment.is_executable)
            .or_else(|| found.next())?;
        Some((offset - segment.offset).wrapping_add(segment.address))
    }
}

fn table<T>(file: &Bytes, offset: u64, count: u64) -> Result<Vec<u8>, ElfError> {
    let size = size_of::<T>();
    if count > MAX_SECTIONS {
        return Err(ElfError::Table);
    }
    let limit = MAX_SECTIONS as usize * size;
    Ok(file.read(offset, count * size as u64, limit)?)
}

fn slice<T: object::pod::Pod>(bytes: &[u8]) -> Result<&[T], ElfError> {
    slice_from_all_bytes(bytes).map_err(|()| ElfError::Table)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, SectionOf};
    use super::*;

    const LIMIT: usize = 16 << 20;

    #[test]
    fn sections_and_addresses_are_found() {
        let file = Bytes(samples::file(&[SectionOf::plain(".debug_info", b"data")]));
        let elf = Elf::read(&file).unwrap();
        let section = elf.section(".debug_info").unwrap();
        assert_eq!(elf.data(&file, section, LIMIT).unwrap(), b"data");
        assert!(elf.section(".symtab").is_none());
        assert_eq!(elf.address_of(0x1010), Some(0x1010));
        assert_eq!(elf.address_of(0x10), None);
    }

    #[test]
    fn stated_sizes_take_no_memory() {
        for stated in [u64::MAX, i64::MAX as u64, 1 << 40, LIMIT as u64 + 1] {
            let file = Bytes(samples::file(&[SectionOf::compressed(stated, b"x")]));
            let elf = Elf::read(&file).unwrap();
            let section = elf.section(".debug_info").unwrap();
            assert!(elf.data(&file, section, LIMIT).is_err());
        }
        let file = Bytes(samples::file(&[SectionOf::compressed(1, b"x")]));
        let elf = Elf::read(&file).unwrap();
        let section = elf.section(".debug_info").unwrap();
        assert_eq!(elf.data(&file, section, LIMIT).unwrap(), b"x");
        // It contains more than it states.
        let bomb = vec![0; 1 << 20];
        let file = Bytes(samples::file(&[SectionOf::compressed(9, &bomb)]));
        let elf = Elf::read(&file).unwrap();
        let section = elf.section(".debug_info").unwrap();
        assert!(elf.data(&file, section, LIMIT).is_err());
    }

    #[test]
    fn a_sparse_section_is_as_long_as_it_states() {
        let file = Bytes(samples::file(&[SectionOf::sparse(".symtab", 1 << 30)]));
        let elf = Elf::read(&file).unwrap();
        let table = elf.section(".symtab").unwrap();
        assert!(elf.data(&file, table, LIMIT).is_err());
        assert!(elf.symbols(&file, table, LIMIT, |_| ()).is_err());
    }
}
