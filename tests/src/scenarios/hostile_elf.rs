//! ELF files that an unprivileged user makes to harm who reads them.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

/// mov $3,%eax; syscall; ret: close().
const CODE: [u8; 8] = [0xb8, 3, 0, 0, 0, 0x0f, 5, 0xc3];
const SHF_COMPRESSED: u64 = 0x800;
const SHF_ALLOC: u64 = 2;
const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;

/// What is hostile in the file, whose code is one page at 0x1000.
#[derive(Clone, Copy, Debug)]
pub enum Hostile<'a> {
    /// A compressed section that states this size.
    StatedSize(u64),
    /// A compressed section that contains this many zeros.
    Bomb(u64),
    /// A table of so many symbols, without content.
    SparseSymbols(u64),
    /// Unwind tables of this size, without content.
    SparseTables(u64),
    /// A table of so many symbols.
    Symbols(u64),
    /// A link to a file of debug information, in this section.
    Link(&'a str, &'a str),
}

struct Section {
    name: String,
    kind: u32,
    flags: u64,
    address: u64,
    data: Vec<u8>,
    /// Its length, if it is longer than its data.
    sparse: u64,
    /// Size of its entries.
    entry: u64,
}

impl Section {
    fn of(name: &str, kind: u32, data: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            flags: 0,
            address: 0,
            data,
            sparse: 0,
            entry: 0,
        }
    }

    fn bytes(&self) -> u64 {
        self.sparse.max(self.data.len() as u64)
    }
}

impl Hostile<'_> {
    /// Writes the file.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        put(&mut file, 0x1000, &CODE)?;
        let mut sections = self.sections();
        let mut at = 0x2000;
        let mut table = vec![0; 64];
        let mut names = vec![0];
        sections.push(Section::of(".shstrtab", SHT_STRTAB, Vec::new()));
        for section in &sections {
            names.extend(section.name.bytes().chain([0]));
        }
        if let Some(last) = sections.last_mut() {
            last.data = names;
        }
        let mut name = 1;
        for section in &sections {
            put(&mut file, at, &section.data)?;
            let link = if section.kind == SHT_SYMTAB { 2 } else { 0 };
            let words = [section.flags, section.address, at, section.bytes()];
            table.extend([name, section.kind].map(u32::to_le_bytes).concat());
            table.extend(words.map(u64::to_le_bytes).concat());
            table.extend([link, 0].map(u32::to_le_bytes).concat());
            table.extend([1, section.entry].map(u64::to_le_bytes).concat());
            at = (at + section.bytes() + 15) & !15;
            name += section.name.len() as u32 + 1;
        }
        put(&mut file, at, &table)?;
        put(&mut file, 0, &head(at, sections.len() as u16 + 1))
    }

    fn sections(self) -> Vec<Section> {
        match self {
            Self::StatedSize(stated) => vec![compressed(stated, &zeros(258))],
            Self::Bomb(bytes) => vec![compressed(bytes, &zeros(bytes))],
            Self::SparseSymbols(count) => symbols(Vec::new(), count * 24),
            Self::Symbols(count) => {
                let symbol = |index: u64| {
                    let address = 0x1000 + index.wrapping_mul(2_654_435_761) % 0x1000;
                    let mut symbol = [1, 0x0001_0012].map(u32::to_le_bytes).concat();
                    symbol.extend([address, 8].map(u64::to_le_bytes).concat());
                    symbol
                };
                symbols((0..count).flat_map(symbol).collect(), 0)
            }
            Self::SparseTables(bytes) => {
                let table = |name, flags, address| Section {
                    flags,
                    address,
                    sparse: bytes,
                    ..Section::of(name, SHT_PROGBITS, Vec::new())
                };
                vec![
                    table(".eh_frame", SHF_ALLOC, 0x3000),
                    table(".debug_frame", 0, 0),
                    table(".eh_frame_hdr", SHF_ALLOC, 0x2000),
                ]
            }
            Self::Link(section, target) => {
                let mut data = target.as_bytes().to_vec();
                data.push(0);
                data.resize(data.len().next_multiple_of(4), 0);
                // A build id, or a checksum.
                data.extend([0xaa; 20]);
                vec![
                    Section::of(section, SHT_PROGBITS, data),
                    Section::of(".debug_info", SHT_PROGBITS, vec![0; 16]),
                ]
            }
        }
    }
}

/// The table and its names, which must be the second section.
fn symbols(data: Vec<u8>, sparse: u64) -> Vec<Section> {
    let table = Section {
        sparse,
        entry: 24,
        ..Section::of(".symtab", SHT_SYMTAB, data)
    };
    vec![
        table,
        Section::of(".strtab", SHT_STRTAB, b"\0function\0".to_vec()),
    ]
}

fn compressed(stated: u64, stream: &[u8]) -> Section {
    // ELFCOMPRESS_ZLIB
    let mut data = [1_u32, 0].map(u32::to_le_bytes).concat();
    data.extend([stated, 1].map(u64::to_le_bytes).concat());
    data.extend(stream);
    Section {
        flags: SHF_COMPRESSED,
        ..Section::of(".debug_info", SHT_PROGBITS, data)
    }
}

/// About this many zeros, compressed (RFC 1950 and 1951): matches of 258 bytes in 13 bits each.
fn zeros(bytes: u64) -> Vec<u8> {
    let matches = bytes / 258;
    let mut bits = Bits {
        stream: vec![0x78, 0x9c],
        ..Bits::default()
    };
    // The last block, with fixed codes; a literal zero.
    bits.put(0b1, 1);
    bits.put(0b01, 2);
    bits.put(0b0000_1100, 8);
    for _ in 0..matches {
        // Length 258 (code 285, 1100 0101), distance 1 (code 0); the first bit of a code is the lowest one here.
        bits.put(0b0_0000_1010_0011, 13);
    }
    // The end of the block.
    bits.put(0, 7);
    bits.put(0, 7);
    let count = (1 + 258 * matches) % 65_521;
    bits.stream
        .extend((count << 16 | 1).to_be_bytes()[4..].to_vec());
    bits.stream
}

#[derive(Default)]
struct Bits {
    stream: Vec<u8>,
    kept: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        self.kept |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.stream.push(self.kept as u8);
            self.kept >>= 8;
            self.count -= 8;
        }
    }
}

fn put(file: &mut File, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

fn head(sections_at: u64, sections: u16) -> Vec<u8> {
    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(16, 0);
    head.extend([3_u16, 62].map(u16::to_le_bytes).concat());
    head.extend(1_u32.to_le_bytes());
    head.extend([0x1000, 64, sections_at].map(u64::to_le_bytes).concat());
    head.extend(0_u32.to_le_bytes());
    let counts = [64, 56, 1, 64, sections, sections - 1];
    head.extend(counts.map(u16::to_le_bytes).concat());
    // One segment: PT_LOAD, readable and executable.
    head.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    head.extend([0x1000_u64; 6].map(u64::to_le_bytes).concat());
    head
}
