//! Functions of a file's symbol table.

use object::elf::{STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE};

use super::bytes::Bytes;
use super::elf::Elf;
use crate::stack::protocol::MAX_NAME;

/// Larger tables are not read, bytes: 2.8 million symbols.
const MAX_TABLE: usize = 64 << 20;
/// Maximum number of functions that are kept, of 24 bytes each.
const MAX_FUNCTIONS: usize = 1_500_000;
/// Functions may lie in others.
const MAX_NESTED: usize = 8;

/// Functions sorted by address. Their names stay in the file.
#[derive(Debug)]
pub struct Symbols {
    functions: Vec<Function>,
    names_at: u64,
    names_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    address: u64,
    bytes: u64,
    name: u32,
    /// Of several at one address: functions before labels.
    rank: u8,
}

impl Symbols {
    /// Reads `.symtab`, or `.dynsym` if the file is stripped. Without functions if it has neither.
    pub fn read(file: &Bytes, elf: &Elf) -> Self {
        for name in [".symtab", ".dynsym"] {
            if let Some(symbols) = Self::of_table(file, elf, name)
                && !symbols.functions.is_empty()
            {
                return symbols;
            }
        }
        Self {
            functions: Vec::new(),
            names_at: 0,
            names_bytes: 0,
        }
    }

    fn of_table(file: &Bytes, elf: &Elf, name: &str) -> Option<Self> {
        let table = elf.section(name)?;
        let names = elf.linked(table.link)?;
        let mut functions = Vec::new();
        let read = elf.symbols(file, table, MAX_TABLE, |symbol| {
            let is_code = matches!(symbol.kind, STT_FUNC | STT_GNU_IFUNC | STT_NOTYPE);
            let is_named = symbol.name != 0 && symbol.is_defined && symbol.address != 0;
            if is_code && is_named && functions.len() < MAX_FUNCTIONS {
                functions.push(Function {
                    address: symbol.address,
                    bytes: symbol.bytes,
                    name: symbol.name,
                    rank: u8::from(symbol.kind == STT_NOTYPE),
                });
            }
        });
        if let Err(error) = read {
            log::debug!("{name}: {error}");
        }
        functions.sort_unstable_by_key(|it| it.address);
        functions.shrink_to_fit();
        Some(Self {
            functions,
            names_at: names.offset,
            names_bytes: names.bytes,
        })
    }

    /// The function that contains an address: its name, and the offset from its start. Of several names, the one with the
    /// fewest underscores in front: close() of libc is also __close().
    pub fn find(&self, file: &Bytes, address: u64) -> Option<(Vec<u8>, u64)> {
        let after = self.functions.partition_point(|it| it.address <= address);
        let nearest = self.functions[..after].last()?.address;
        let before = self.functions[..after].iter().rev();
        let contains = |it: &&Function| match it.bytes {
            // It reaches to the next one.
            0 => it.address == nearest,
            bytes => address - it.address < bytes,
        };
        let first = before.clone().take(MAX_NESTED).find(contains)?;
        let same = before
            .skip_while(|it| it.address > first.address)
            .take_while(|it| it.address == first.address)
            .take(MAX_NESTED)
            .filter(contains);
        let named = same.filter_map(|it| Some((it.rank, self.name(file, it)?)));
        let (_, name) = named.min_by_key(|(rank, name)| {
            let underscores = name.iter().take_while(|byte| **byte == b'_').count();
            (*rank, underscores, name.len())
        })?;
        Some((name, address - first.address))
    }

    fn name(&self, file: &Bytes, function: &Function) -> Option<Vec<u8>> {
        let offset = u64::from(function.name);
        let left = usize::try_from(self.names_bytes.checked_sub(offset)?).ok()?;
        // A mangled name is longer than the name.
        let most = left.min(4 * MAX_NAME);
        let mut name = file
            .read_some(self.names_at.checked_add(offset)?, most)
            .ok()?;
        name.truncate(memchr::memchr(0, &name).unwrap_or(name.len()));
        (!name.is_empty()).then_some(name)
    }
}
