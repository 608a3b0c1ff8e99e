//! Takes the DWARF out of the eBPF object, three quarters of it: bpf-linker has made BTF of it by then, and the program,
//! which carries the object within itself, would have it in memory for nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use object::{
    build::elf::{Builder, SectionData},
    elf,
};

/// How the names of sections begin that only a debugger reads: DWARF, and its relocations.
const DEBUG_PREFIXES: [&[u8]; 2] = [b".debug_", b".rel.debug_"];

/// Writes the object without its DWARF beside it, and returns where. BTF, symbols and all programs stay.
///
/// # Errors
/// When the object can't be read as ELF, or the other not be written.
pub fn strip(object: &Path) -> Result<PathBuf> {
    let whole = fs::read(object).with_context(|| format!("can't read {}", object.display()))?;
    let stripped =
        without_dwarf(&whole).with_context(|| format!("can't strip {}", object.display()))?;
    let path = object.with_extension("stripped");
    // A new time of change would have the program built again.
    if fs::read(&path).ok().as_ref() != Some(&stripped) {
        fs::write(&path, stripped).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(path)
}

fn without_dwarf(whole: &[u8]) -> object::build::Result<Vec<u8>> {
    let mut builder = Builder::read(whole)?;
    for section in &mut builder.sections {
        section.delete = DEBUG_PREFIXES
            .iter()
            .any(|prefix| section.name.starts_with(prefix));
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and of symbols in one table, which this writer doesn't.
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}
