//! Reads the kernel's BTF, to find the members of its structs.
//!
//! Format: Documentation/bpf/btf.rst. Reads only what the probes need: member offsets (including bit fields and
//! members of anonymous structs), numbers of arguments, and names of enum values.
//!
//! A kernel has 100,000 types or more, and the probes ask for about a hundred names. So the file is read once,
//! without a copy, in two passes: over the strings, to find the wanted names, and over the types, to note where each
//! begins and which have those names. The map of names has only the wanted ones.

mod functions;
mod names;
mod source;

use std::{collections::HashMap, ops::Range, path::Path};

use names::{OffsetSet, WantedNames};
pub use source::KERNEL_BTF;
use source::Source;

use super::ProbeError;

const MAGIC: u16 = 0xeb9f;
/// BTF whose types are nested deeper than this is not of a kernel.
const MAX_DEPTH: usize = 32;

const KIND_PTR: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;

/// Bytes after the 12 of a type's head, by kind: a fixed part, and one per member.
const EXTRA: [(usize, usize); 20] = [
    (0, 0),  // void
    (4, 0),  // int
    (0, 0),  // ptr
    (12, 0), // array
    (0, 12), // struct
    (0, 12), // union
    (0, 8),  // enum
    (0, 0),  // fwd
    (0, 0),  // typedef
    (0, 0),  // volatile
    (0, 0),  // const
    (0, 0),  // restrict
    (0, 0),  // func
    (0, 8),  // func_proto
    (4, 0),  // var
    (0, 12), // datasec
    (0, 0),  // float
    (4, 0),  // decl_tag
    (0, 0),  // type_tag
    (0, 12), // enum64
];

/// The kinds that are looked up by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Named {
    Struct,
    Enum,
    Typedef,
    Func,
}

impl Named {
    fn of_kind(kind: u32) -> Option<Self> {
        match kind {
            KIND_STRUCT => Some(Self::Struct),
            KIND_ENUM => Some(Self::Enum),
            KIND_TYPEDEF => Some(Self::Typedef),
            KIND_FUNC => Some(Self::Func),
            _ => None,
        }
    }
}

pub struct KernelBtf {
    data: Source,
    /// Range of the string section in `data`.
    strings: Range<usize>,
    /// Offset of each type's head in `data`, by type id; id 0 is void.
    types: Vec<u32>,
    /// Ids of the types whose names were wanted.
    names: HashMap<(Named, Vec<u8>), u32>,
    /// The wanted names, whether the kernel has them or not.
    #[cfg(debug_assertions)]
    asked: std::collections::HashSet<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct Head {
    name: u32,
    kind: u32,
    members: usize,
    kind_flag: bool,
    size_or_type: u32,
    /// Offset of what follows the head.
    rest: usize,
}

impl KernelBtf {
    /// Reads a BTF file, and notes where types with these names are. Others can't be found later.
    ///
    /// # Errors
    /// If the file can't be read or is not BTF.
    pub fn from_file<'a>(
        path: &Path,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ProbeError> {
        let data = Source::open(path).map_err(|error| ProbeError::BtfUnreadable {
            path: path.to_path_buf(),
            error,
        })?;
        Self::parse(data, names).ok_or_else(|| ProbeError::BtfMalformed(path.to_path_buf()))
    }

    fn parse<'a>(data: Source, names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<&str> = names.into_iter().collect();
        if u16_at(&data, 0)? != MAGIC {
            return None;
        }
        let header = u32_at(&data, 4)? as usize;
        let types_at = header.checked_add(u32_at(&data, 8)? as usize)?;
        let types_end = types_at.checked_add(u32_at(&data, 12)? as usize)?;
        let strings_at = header.checked_add(u32_at(&data, 16)? as usize)?;
        let strings_end = strings_at.checked_add(u32_at(&data, 20)? as usize)?;
        let wanted =
            WantedNames::new(names.iter().copied()).find(data.get(strings_at..strings_end)?);
        let mut btf = Self {
            data,
            strings: strings_at..strings_end,
            types: vec![0],
            names: HashMap::with_capacity(wanted.len()),
            #[cfg(debug_assertions)]
            asked: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        };
        btf.note_types(types_at..types_end, wanted)?;
        Some(btf)
    }

    /// Notes where all types begin, and the ids of those with wanted names.
    fn note_types(&mut self, types: Range<usize>, wanted: HashMap<Vec<u8>, u32>) -> Option<()> {
        let is_wanted = OffsetSet::new(self.strings.len(), wanted.values().copied());
        let wanted: HashMap<u32, Vec<u8>> = wanted
            .into_iter()
            .map(|(name, offset)| (offset, name))
            .collect();
        let mut at = types.start;
        while at < types.end {
            let head = self.head_at(at)?;
            let id = u32::try_from(self.types.len()).ok()?;
            self.types.push(u32::try_from(at).ok()?);
            if is_wanted.contains(head.name)
                && let Some(named) = Named::of_kind(head.kind)
                && let Some(name) = wanted.get(&head.name)
            {
                // Of several types with one name the first is the kernel's own; modules have their own BTF.
                self.names.entry((named, name.clone())).or_insert(id);
            }
            let (fixed, each) = *EXTRA.get(head.kind as usize)?;
            at = head
                .rest
                .checked_add(fixed)?
                .checked_add(each.checked_mul(head.members)?)?;
        }
        Some(())
    }

    /// Those of these functions that the kernel has, in the form that [`aya`] takes.
    pub fn for_aya(&self, functions: &[&str]) -> Option<aya::Btf> {
        let known: Vec<(&str, u32)> = functions
            .iter()
            .filter_map(|name| Some((*name, self.function_id(name)?)))
            .collect();
        functions::with_functions(&known)
            .inspect_err(|error| log::debug!("functions for aya: {error}"))
            .ok()
    }

    fn head_at(&self, at: usize) -> Option<Head> {
        let info = u32_at(&self.data, at + 4)?;
        Some(Head {
            name: u32_at(&self.data, at)?,
            kind: info >> 24 & 0x1f,
            members: (info & 0xffff) as usize,
            kind_flag: info >> 31 != 0,
            size_or_type: u32_at(&self.data, at + 8)?,
            rest: at + 12,
        })
    }

    fn head(&self, id: u32) -> Option<Head> {
        if id == 0 {
            return None;
        }
        self.head_at(*self.types.get(id as usize)? as usize)
    }

    /// The string at an offset, up to its zero byte.
    fn string(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.strings_from(offset)?;
        rest.get(..memchr::memchr(0, rest)?)
    }

    fn is_string(&self, offset: u32, wanted: &[u8]) -> bool {
        self.strings_from(offset)
            .and_then(|rest| rest.strip_prefix(wanted))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    fn strings_from(&self, offset: u32) -> Option<&[u8]> {
        self.data
            .get(self.strings.clone())?
            .get(usize::try_from(offset).ok()?..)
    }

    fn named(&self, kind: Named, name: &str) -> Option<Head> {
        self.head(self.id_of(kind, name)?)
    }

    fn id_of(&self, kind: Named, name: &str) -> Option<u32> {
        #[cfg(debug_assertions)]
        assert!(
            self.asked.contains(name.as_bytes()),
            "{name} is looked up in BTF and is not in the list of names that are noted (kernel_properties::names)"
        );
        self.names.get(&(kind, name.as_bytes().to_vec())).copied()
    }

    /// Bit offset of a member. `path` is dotted, and leads through embedded structs only.
    pub fn member_bit_offset(&self, strct: &str, path: &str) -> Option<u32> {
        let mut within = self.named(Named::Struct, strct)?;
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, member) = self.member(within, name.as_bytes(), MAX_DEPTH)?;
            bits += offset;
            // The last component may have any type, which is not needed.
            within = match self.resolve(member) {
                Some(head) => head,
                None => return Some(bits),
            };
        }
        Some(bits)
    }

    /// Byte offset of a member that is not a bit field.
    pub fn member_offset(&self, strct: &str, path: &str) -> Option<u32> {
        let bits = self.member_bit_offset(strct, path)?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Bit offset and type of a member, including members of anonymous structs and unions.
    fn member(&self, within: Head, name: &[u8], depth: usize) -> Option<(u32, u32)> {
        if depth == 0 || !matches!(within.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for index in 0..within.members {
            let at = within.rest + index * 12;
            let member_name = u32_at(&self.data, at)?;
            let member_type = u32_at(&self.data, at + 4)?;
            let offset = u32_at(&self.data, at + 8)?;
            // With the kind flag, the upper eight bits are the size of a bit field.
            let offset = if within.kind_flag {
                offset & 0x00ff_ffff
            } else {
                offset
            };
            if member_name == 0 {
                let inner = self
                    .resolve(member_type)
                    .and_then(|inner| self.member(inner, name, depth - 1));
                if let Some((more, found)) = inner {
                    return Some((offset + more, found));
                }
            } else if self.is_string(member_name, name) {
                return Some((offset, member_type));
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<Head> {
        let mut head = self.head(id)?;
        for _ in 0..MAX_DEPTH {
            match head.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    head = self.head(head.size_or_type)?;
                }
                _ => return Some(head),
            }
        }
        None
    }

    /// The id of a kernel function, by which programs may call it if the kernel allows that.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.id_of(Named::Func, name)
    }

    /// Number of arguments of a kernel function; `None` if BTF does not know it.
    pub fn function_arguments(&self, name: &str) -> Option<usize> {
        let prototype = self.head(self.named(Named::Func, name)?.size_or_type)?;
        (prototype.kind == KIND_FUNC_PROTO).then_some(prototype.members)
    }

    /// The typedef of a raw tracepoint.
    pub fn tracepoint_typedef(name: &str) -> String {
        format!("btf_trace_{name}")
    }

    /// Number of arguments of a raw tracepoint (its `TP_PROTO`); `None` if it does not exist. `btf_trace_NAME` is a
    /// pointer to a function that takes `void *__data` before them (include/trace/bpf_probe.h).
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let typedef = self.named(Named::Typedef, &Self::tracepoint_typedef(name))?;
        let pointer = self.head(typedef.size_or_type)?;
        if pointer.kind != KIND_PTR {
            return None;
        }
        let prototype = self.head(pointer.size_or_type)?;
        (prototype.kind == KIND_FUNC_PROTO).then(|| prototype.members.saturating_sub(1))
    }

    /// Whether there is a typedef of this name.
    pub fn has_typedef(&self, name: &str) -> bool {
        self.named(Named::Typedef, name).is_some()
    }

    /// Values and names of an enum; empty if it does not exist.
    pub fn enum_values(&self, name: &str) -> Vec<(u32, String)> {
        let Some(head) = self.named(Named::Enum, name) else {
            return Vec::new();
        };
        (0..head.members)
            .filter_map(|index| {
                let at = head.rest + index * 8;
                let name = self.string(u32_at(&self.data, at)?)?;
                let value = u32_at(&self.data, at + 4)?;
                Some((value, String::from_utf8_lossy(name).into_owned()))
            })
            .collect()
    }
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    let bytes = data.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
