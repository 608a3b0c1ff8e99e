//! A reader of the kernel's BTF: where the members of its structs are.
//!
//! Format: Documentation/bpf/btf.rst. Only what the probes need is looked up: member offsets (bit fields
//! and members of anonymous structs included), numbers of arguments, and names of enum values.

use std::{collections::HashMap, path::Path};

use super::ProbeError;

const MAGIC: u16 = 0xeb9f;
/// Types deeper than this inside each other are not BTF of a kernel.
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

/// Bytes that follow the 12 of a type's head, for each kind: a fixed part and one per member.
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

/// Parsed BTF of a kernel.
pub struct KernelBtf {
    data: Vec<u8>,
    strings: usize,
    /// Offset of each type's head in `data`, by type id; id 0 is void.
    types: Vec<usize>,
    names: HashMap<(Named, Vec<u8>), u32>,
}

#[derive(Clone, Copy)]
struct Head {
    name: u32,
    kind: u32,
    members: usize,
    kind_flag: bool,
    size_or_type: u32,
    /// Where what follows the head begins.
    rest: usize,
}

impl KernelBtf {
    /// Reads and indexes a BTF file.
    ///
    /// # Errors
    /// When the file can't be read or is not BTF.
    pub fn from_file(path: &Path) -> Result<Self, ProbeError> {
        let data = std::fs::read(path).map_err(|error| ProbeError::BtfUnreadable {
            path: path.to_path_buf(),
            error,
        })?;
        Self::parse(data).ok_or_else(|| ProbeError::BtfMalformed(path.to_path_buf()))
    }

    fn parse(data: Vec<u8>) -> Option<Self> {
        if u16_at(&data, 0)? != MAGIC {
            return None;
        }
        let header = u32_at(&data, 4)? as usize;
        let types_at = header.checked_add(u32_at(&data, 8)? as usize)?;
        let types_end = types_at.checked_add(u32_at(&data, 12)? as usize)?;
        let strings = header.checked_add(u32_at(&data, 16)? as usize)?;
        let mut btf = Self {
            data,
            strings,
            types: vec![0],
            names: HashMap::new(),
        };
        let mut at = types_at;
        while at < types_end {
            let head = btf.head_at(at)?;
            let id = u32::try_from(btf.types.len()).ok()?;
            btf.types.push(at);
            let named = match head.kind {
                KIND_STRUCT => Some(Named::Struct),
                KIND_ENUM => Some(Named::Enum),
                KIND_TYPEDEF => Some(Named::Typedef),
                KIND_FUNC => Some(Named::Func),
                _ => None,
            };
            if let Some(named) = named
                && head.name != 0
            {
                let name = btf.string(head.name)?.to_vec();
                // Of several with one name the first is the kernel's own; modules have their own BTF.
                btf.names.entry((named, name)).or_insert(id);
            }
            let (fixed, each) = *EXTRA.get(head.kind as usize)?;
            at = head
                .rest
                .checked_add(fixed)?
                .checked_add(each.checked_mul(head.members)?)?;
        }
        Some(btf)
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
        self.head_at(*self.types.get(id as usize)?)
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let rest = self
            .data
            .get(self.strings.checked_add(offset as usize)?..)?;
        rest.split(|byte| *byte == 0).next()
    }

    fn named(&self, kind: Named, name: &str) -> Option<Head> {
        self.head(*self.names.get(&(kind, name.as_bytes().to_vec()))?)
    }

    /// Bit offset of a member: `path` is dotted, and runs through embedded structs only.
    pub fn member_bit_offset(&self, strct: &str, path: &str) -> Option<u32> {
        let mut within = self.named(Named::Struct, strct)?;
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, member) = self.member(within, name.as_bytes(), MAX_DEPTH)?;
            bits += offset;
            // A last component may be of any type: it is not looked into.
            within = match self.resolve(member) {
                Some(head) => head,
                None => return Some(bits),
            };
        }
        Some(bits)
    }

    /// Byte offset of a member that is no bit field.
    pub fn member_offset(&self, strct: &str, path: &str) -> Option<u32> {
        let bits = self.member_bit_offset(strct, path)?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Bit offset and type of a member, also of an anonymous struct or union inside.
    fn member(&self, within: Head, name: &[u8], depth: usize) -> Option<(u32, u32)> {
        if depth == 0 || !matches!(within.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for index in 0..within.members {
            let at = within.rest + index * 12;
            let member_name = u32_at(&self.data, at)?;
            let member_type = u32_at(&self.data, at + 4)?;
            let offset = u32_at(&self.data, at + 8)?;
            // With the kind flag the upper eight bits are the size of a bit field.
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
            } else if self.string(member_name)? == name {
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

    /// The id of a kernel function, by which programs call it where they may.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.names
            .get(&(Named::Func, name.as_bytes().to_vec()))
            .copied()
    }

    /// How many arguments a kernel function takes; `None` where BTF does not know it.
    pub fn function_arguments(&self, name: &str) -> Option<usize> {
        let prototype = self.head(self.named(Named::Func, name)?.size_or_type)?;
        (prototype.kind == KIND_FUNC_PROTO).then_some(prototype.members)
    }

    /// How many arguments a raw tracepoint passes (its `TP_PROTO`); `None` where there is none such.
    /// `btf_trace_NAME` is a pointer to a function that takes `void *__data` before them
    /// (include/trace/bpf_probe.h).
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let typedef = self.named(Named::Typedef, &format!("btf_trace_{name}"))?;
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

    /// Values and names of an enum; empty where there is none such.
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `struct outer { int a; union { struct { int b; inner_t c; }; }; }` with
    /// `typedef struct inner { int d; int e:3; } inner_t`, written by hand.
    fn example() -> Vec<u8> {
        let strings = b"\0int\0inner\0d\0e\0inner_t\0outer\0a\0b\0c\0";
        let at = |name: &str| {
            let needle = [b"\0", name.as_bytes(), b"\0"].concat();
            strings
                .windows(needle.len())
                .position(|w| w == needle)
                .unwrap() as u32
                + 1
        };
        let info = |kind: u32, members: u32, flag: u32| flag << 31 | kind << 24 | members;
        let words: Vec<u32> = [
            vec![at("int"), info(1, 0, 0), 4, 32], // 1
            vec![
                at("inner"),
                info(4, 2, 1),
                8,
                at("d"),
                1,
                0,
                at("e"),
                1,
                3 << 24 | 33,
            ], // 2
            vec![at("inner_t"), info(8, 0, 0), 2], // 3
            vec![0, info(4, 2, 0), 12, at("b"), 1, 0, at("c"), 3, 32], // 4
            vec![0, info(5, 1, 0), 12, 0, 4, 0],   // 5
            vec![at("outer"), info(4, 2, 0), 16, at("a"), 1, 0, 0, 5, 32], // 6
        ]
        .concat();
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut data = Vec::new();
        data.extend(MAGIC.to_le_bytes());
        data.extend([1, 0]);
        for word in [
            24,
            0,
            types.len() as u32,
            types.len() as u32,
            strings.len() as u32,
        ] {
            data.extend(word.to_le_bytes());
        }
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn members_are_found_through_anonymous_structs_and_typedefs() {
        let btf = KernelBtf::parse(example()).unwrap();
        assert_eq!(btf.member_offset("outer", "a"), Some(0));
        assert_eq!(btf.member_offset("outer", "b"), Some(4));
        assert_eq!(btf.member_offset("outer", "c.d"), Some(8));
        assert_eq!(btf.member_bit_offset("outer", "c.e"), Some(8 * 8 + 33));
        assert_eq!(btf.member_offset("outer", "c.e"), None, "a bit field");
        assert_eq!(btf.member_offset("outer", "x"), None);
    }

    proptest! {
        #[test]
        fn damaged_btf_is_refused_or_read_and_never_panics(
            cut in 0usize..200, place in 0usize..200, byte in any::<u8>()
        ) {
            let mut data = example();
            let place = place % data.len();
            data[place] = byte;
            data.truncate(cut.min(data.len()));
            if let Some(btf) = KernelBtf::parse(data) {
                let _ = btf.member_bit_offset("outer", "c.e");
                let _ = btf.function_arguments("outer");
            }
        }
    }
}
