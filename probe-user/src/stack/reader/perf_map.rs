//! `/tmp/perf-PID.map`: symbols of code that a JIT compiler (Java, Node, .NET, Python, …) has generated.

use std::io;

use super::bytes::Bytes;

/// A larger file is read up to this size only.
const MAX_BYTES: usize = 32 << 20;
/// Maximum number of functions, of 24 bytes each.
const MAX_FUNCTIONS: usize = 1_000_000;

/// Functions sorted by address.
#[derive(Debug, Default)]
pub struct PerfMap {
    text: Vec<u8>,
    functions: Vec<Function>,
}

#[derive(Debug)]
struct Function {
    start: u64,
    bytes: u64,
    /// Where its name begins in the text.
    name: u32,
}

impl PerfMap {
    /// Reads lines `START SIZE NAME`, hexadecimal; others are skipped.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn read(file: &Bytes) -> io::Result<Self> {
        let text = file.read_some(0, MAX_BYTES)?;
        let mut functions = Vec::new();
        let mut at = 0;
        while at < text.len() && functions.len() < MAX_FUNCTIONS {
            let line = &text[at..];
            let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
            functions.extend(Function::parse(&line[..end], at));
            at += end + 1;
        }
        // If several have the same address, the last one is valid.
        functions.sort_by_key(|function: &Function| function.start);
        Ok(Self { text, functions })
    }

    /// The function that contains an address, and the offset from its start.
    pub fn find(&self, address: u64) -> Option<(&[u8], u64)> {
        let after = self
            .functions
            .partition_point(|function| function.start <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        let offset = address - function.start;
        let name = self.text.get(function.name as usize..)?;
        let end = memchr::memchr(b'\n', name).unwrap_or(name.len());
        (offset < function.bytes).then_some((name[..end].trim_ascii_end(), offset))
    }
}

impl Function {
    fn parse(line: &[u8], at: usize) -> Option<Self> {
        let mut fields = line.splitn(3, |byte| *byte == b' ');
        let mut hex = || {
            let field = std::str::from_utf8(fields.next()?).ok()?;
            u64::from_str_radix(field.trim_start_matches("0x"), 16).ok()
        };
        let (start, bytes) = (hex()?, hex()?);
        let name = fields.next()?;
        Some(Self {
            start,
            bytes,
            name: u32::try_from(at + line.len() - name.len()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &[u8]) -> PerfMap {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        PerfMap::read(&Bytes(file)).unwrap()
    }

    #[test]
    fn the_last_one_of_an_address_is_in_force() {
        let map =
            read(b"1000 10 old\n0x1000 20 LazyCompile:~f a.js:1\ngarbage\n\xff 1 x\n2000 8 g");
        assert_eq!(
            map.find(0x1018),
            Some((&b"LazyCompile:~f a.js:1"[..], 0x18))
        );
        assert_eq!(map.find(0x1020), None);
        assert_eq!(map.find(0x2007), Some((&b"g"[..], 7)));
        assert_eq!(map.find(0), None);
    }

    #[test]
    fn any_number_of_lines_is_bounded() {
        let map = read(&b"1 1 a\n".repeat(MAX_FUNCTIONS + 5));
        assert_eq!(map.functions.len(), MAX_FUNCTIONS);
    }
}
