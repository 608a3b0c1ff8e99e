//! `/tmp/perf-PID.map`: symbols of code that a JIT compiler (Java, Node, .NET, Python, …) has generated.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// A larger file is read up to this size only.
const MAX_BYTES: u64 = 64 << 20;

/// Functions sorted by address.
#[derive(Debug, Default)]
pub struct PerfMap {
    functions: Vec<Function>,
}

#[derive(Debug)]
struct Function {
    start: u64,
    size: u64,
    name: String,
}

impl PerfMap {
    /// Reads lines `START SIZE NAME`, hexadecimal; others are skipped.
    pub fn read(file: &File) -> Self {
        let reader = BufReader::new(file.take(MAX_BYTES));
        let mut functions: Vec<Function> = reader
            .split(b'\n')
            .map_while(Result::ok)
            .filter_map(|line| Function::parse(&String::from_utf8_lossy(&line)))
            .collect();
        // If several have the same address, the last one is valid.
        functions.sort_by_key(|function| function.start);
        Self { functions }
    }

    /// The function that contains an address, and the offset from its start.
    pub fn find(&self, address: u64) -> Option<(&str, u64)> {
        let after = self
            .functions
            .partition_point(|function| function.start <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        let offset = address - function.start;
        (offset < function.size).then_some((function.name.as_str(), offset))
    }
}

impl Function {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, ' ');
        let mut hex = || {
            let field = fields.next()?;
            u64::from_str_radix(field.trim_start_matches("0x"), 16).ok()
        };
        let (start, size) = (hex()?, hex()?);
        Some(Self {
            start,
            size,
            name: fields.next()?.trim_end().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_one_of_an_address_is_in_force() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(
            b"1000 10 old\n0x1000 20 LazyCompile:~f a.js:1\ngarbage\n\xff 1 x\n2000 8 g",
        )
        .unwrap();
        let map = PerfMap::read(&File::open(file.path()).unwrap());
        assert_eq!(map.find(0x1018), Some(("LazyCompile:~f a.js:1", 0x18)));
        assert_eq!(map.find(0x1020), None);
        assert_eq!(map.find(0x2007), Some(("g", 7)));
        assert_eq!(map.find(0), None);
    }
}
