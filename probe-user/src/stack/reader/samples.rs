//! ELF files for tests.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

/// A section of a file that is put together.
pub struct SectionOf {
    name: &'static str,
    kind: u32,
    flags: u64,
    data: Vec<u8>,
    /// Its length, if it is longer than its data.
    sparse: u64,
}

impl SectionOf {
    pub fn plain(name: &'static str, data: &[u8]) -> Self {
        Self {
            name,
            kind: 1,
            flags: 0,
            data: data.to_vec(),
            sparse: 0,
        }
    }

    /// `.debug_info`, compressed, which states another size.
    pub fn compressed(stated: u64, content: &[u8]) -> Self {
        let mut data = Vec::new();
        data.extend(1_u32.to_le_bytes());
        data.extend(0_u32.to_le_bytes());
        data.extend(stated.to_le_bytes());
        data.extend(1_u64.to_le_bytes());
        data.extend(miniz_oxide::deflate::compress_to_vec_zlib(content, 6));
        Self {
            flags: 0x800,
            ..Self::plain(".debug_info", &data)
        }
    }

    pub fn sparse(name: &'static str, bytes: u64) -> Self {
        Self {
            sparse: bytes,
            ..Self::plain(name, b"")
        }
    }
}

/// A file with one page of code at 0x1000, and these sections.
pub fn file(sections: &[SectionOf]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    let mut names = vec![0];
    let mut at = 0x2000;
    let mut table = vec![[0; 64]];
    for section in sections {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&section.data).unwrap();
        let bytes = section.sparse.max(section.data.len() as u64);
        table.push(header(names.len(), section.kind, section.flags, at, bytes));
        names.extend(section.name.bytes().chain([0]));
        at += bytes + 16;
    }
    table.push(header(names.len(), 3, 0, at, names.len() as u64 + 10));
    names.extend(b".shstrtab\0");
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&names).unwrap();
    let table_at = at + names.len() as u64;
    file.write_all(&table.concat()).unwrap();
    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(16, 0);
    head.extend([3_u16, 62].map(u16::to_le_bytes).concat());
    head.extend(1_u32.to_le_bytes());
    head.extend([0x1000, 64, table_at].map(u64::to_le_bytes).concat());
    head.extend(0_u32.to_le_bytes());
    let count = table.len() as u16;
    head.extend(
        [64, 56, 1, 64, count, count - 1]
            .map(u16::to_le_bytes)
            .concat(),
    );
    head.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    head.extend([0x1000_u64; 6].map(u64::to_le_bytes).concat());
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&head).unwrap();
    file
}

fn header(name: usize, kind: u32, flags: u64, at: u64, bytes: u64) -> [u8; 64] {
    let mut header = [0; 64];
    let mut put = |offset: usize, value: &[u8]| {
        header[offset..offset + value.len()].copy_from_slice(value);
    };
    put(0, &(name as u32).to_le_bytes());
    put(4, &kind.to_le_bytes());
    put(8, &flags.to_le_bytes());
    put(24, &at.to_le_bytes());
    put(32, &bytes.to_le_bytes());
    put(48, &1_u64.to_le_bytes());
    header
}
