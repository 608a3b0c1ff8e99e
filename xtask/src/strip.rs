//! Removes what only a debugger reads from the eBPF object, nine tenths of it: the DWARF, which bpf-linker has already
//! converted to BTF, and the source lines of instructions. The program contains the object, and the loader and the
//! kernel keep a record for each of those lines.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use object::{
    build::elf::{Builder, SectionData},
    elf,
};

/// Prefixes of the sections that only a debugger reads: DWARF, and its relocations.
const DEBUG_PREFIXES: [&[u8]; 2] = [b".debug_", b".rel.debug_"];

/// Types of functions and lines of instructions (Documentation/bpf/btf.rst). Loaders do not need its relocations.
const BTF_EXT: &[u8] = b".BTF.ext";
const BTF_EXT_RELOCATIONS: &[u8] = b".rel.BTF.ext";

/// Path of the object without them: beside the original.
pub fn path(object: &Path) -> PathBuf {
    object.with_extension("stripped")
}

/// Writes the object without them to [`path`]. BTF, symbols and all programs stay.
///
/// # Errors
/// If the object can't be read as ELF, or the result can't be written.
pub fn strip(object: &Path) -> Result<()> {
    let whole = fs::read(object).with_context(|| format!("can't read {}", object.display()))?;
    let stripped =
        without_debug_info(&whole).with_context(|| format!("can't strip {}", object.display()))?;
    let path = path(object);
    // A new modification time would cause the program to be rebuilt.
    if fs::read(&path).ok().as_ref() != Some(&stripped) {
        fs::write(&path, stripped).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

fn without_debug_info(whole: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(whole)?;
    for section in &mut builder.sections {
        section.delete = section.name.as_slice() == BTF_EXT_RELOCATIONS
            || DEBUG_PREFIXES
                .iter()
                .any(|prefix| section.name.starts_with(prefix));
        if section.name.as_slice() == BTF_EXT
            && let SectionData::Data(data) = &mut section.data
        {
            *data = without_lines(data)?.into();
        }
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and symbols in one table, which this writer does not support.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// `.BTF.ext` with only the types of functions: `struct btf_ext_header` (include/linux/btf.h) and its first part.
fn without_lines(ext: &[u8]) -> Result<Vec<u8>> {
    /// Magic number, version, flags and the header's length.
    const START_BYTES: usize = 8;
    /// Offsets of fields in the header.
    const FUNCTIONS: usize = 8;
    const CO_RE: usize = 24;
    let word = |at: usize| {
        let bytes = ext.get(at..at + 4).context(".BTF.ext is cut short")?;
        Ok::<_, anyhow::Error>(u32::from_le_bytes(bytes.try_into()?))
    };
    let header = word(4)?;
    let (functions_at, functions) = (word(FUNCTIONS)?, word(FUNCTIONS + 4)?);
    if header as usize >= CO_RE + 8 {
        ensure!(word(CO_RE + 4)? == 0, "the programs have CO-RE relocations");
    }
    let from = header as usize + functions_at as usize;
    let functions_data = ext
        .get(from..from + functions as usize)
        .context(".BTF.ext is cut short")?;
    let mut short = ext[..START_BYTES].to_vec();
    // Offset and length of functions, lines, and CO-RE relocations, as far as the header has them.
    let fields = [0, functions, functions, 0, functions, 0];
    short.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
    short.resize(header as usize, 0);
    short.extend(functions_data);
    Ok(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ext(co_re_bytes: u32) -> Vec<u8> {
        let words = [32, 4, 8, 12, 20, 32, co_re_bytes];
        let mut data = vec![0x9f, 0xeb, 1, 0];
        data.extend(words.iter().flat_map(|word: &u32| word.to_le_bytes()));
        data.extend(b"....functionslines and lines of them");
        data
    }

    #[test]
    fn functions_stay_and_lines_go() {
        let short = without_lines(&ext(0)).unwrap();
        assert_eq!(&short[32..], b"function");
        let word = |at: usize| u32::from_le_bytes(short[at..at + 4].try_into().unwrap());
        assert_eq!(
            [word(4), word(8), word(12), word(16), word(20)],
            [32, 0, 8, 8, 0]
        );
        assert_eq!(short[..4], ext(0)[..4]);
    }

    #[test]
    fn what_it_can_not_do_without_is_an_error() {
        assert!(without_lines(&ext(16)).is_err(), "CO-RE relocations");
        assert!(without_lines(&ext(0)[..40]).is_err(), "cut short");
    }
}
