//! Unwind tables of a process's modules, from their files.

use std::fs::File;
use std::ops::Range;

use framehop::{ExplicitModuleSectionInfo, Module};
use object::ReadCache;
use object::elf::{PF_X, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use super::process::{Image, MemoryMapping};

/// Larger unwind tables of a module are not read.
const MAX_TABLE_BYTES: u64 = 128 << 20;

type Sections = ExplicitModuleSectionInfo<Vec<u8>>;

/// Unwind tables of a mapped file; `None` if it has none.
pub fn module(mapping: &MemoryMapping, image: &mut Image) -> Option<Module<Vec<u8>>> {
    let file = image.file(mapping)?;
    let sections = read(&file, mapping)?;
    Some(Module::new(
        String::new(),
        mapping.start..mapping.end,
        sections.bias,
        sections.tables,
    ))
}

struct Tables {
    /// Added to the file's addresses.
    bias: u64,
    tables: Sections,
}

fn read(file: &File, mapping: &MemoryMapping) -> Option<Tables> {
    let cache = ReadCache::new(file);
    let header = object::elf::FileHeader64::<object::Endianness>::parse(&cache).ok()?;
    let endian = header.endian().ok()?;
    let bias = header
        .program_headers(endian, &cache)
        .ok()?
        .iter()
        .find_map(|segment| {
            let executable =
                segment.p_type(endian) == PT_LOAD && segment.p_flags(endian) & PF_X != 0;
            let (offset, size) = segment.file_range(endian);
            // Mappings begin at a page.
            let first = offset & !0xfff;
            let inside = (first..offset.checked_add(size)?).contains(&mapping.offset);
            let address = segment
                .p_vaddr(endian)
                .wrapping_sub(offset)
                .wrapping_add(mapping.offset);
            (executable && inside).then(|| mapping.start.wrapping_sub(address))
        })?;
    // Only the table of sections: a parsed file would also read all symbols.
    let sections = header.sections(endian, &cache).ok()?;
    let section = |name: &str| Some(sections.section_by_name(endian, name.as_bytes())?.1);
    let range = |name: &str| -> Option<Range<u64>> {
        let section = section(name)?;
        let start = section.sh_addr(endian);
        Some(start..start.checked_add(section.sh_size(endian))?)
    };
    let data = |name: &str| -> Option<Vec<u8>> {
        let section = section(name)?;
        let size_bytes = section.sh_size(endian);
        (size_bytes > 0 && size_bytes <= MAX_TABLE_BYTES)
            .then(|| section.data(endian, &cache).ok().map(<[u8]>::to_vec))?
    };
    let tables = Sections {
        base_svma: 0,
        text_svma: range(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        debug_frame: data(".debug_frame"),
        ..Default::default()
    };
    let has_any = tables.eh_frame.is_some() || tables.debug_frame.is_some();
    has_any.then_some(Tables { bias, tables })
}
