//! Ids of functions in the kernel's BTF.

use std::{fs, io, sync::OnceLock};

/// The id of a function in the kernel's BTF.
///
/// # Errors
/// If there is no such function, or BTF can't be read.
pub fn function_id(name: &str) -> io::Result<u32> {
    static BTF: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = match BTF.get() {
        Some(bytes) => bytes,
        None => {
            let bytes = fs::read("/sys/kernel/btf/vmlinux")?;
            BTF.get_or_init(|| bytes)
        }
    };
    find(bytes, name).ok_or_else(|| io::Error::other(format!("the kernel's BTF has no {name}")))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

/// Walks through `struct btf_type`s of linux/btf.h up to the function.
fn find(bytes: &[u8], name: &str) -> Option<u32> {
    const FUNCTION: u32 = 12;
    let header = word(bytes, 4)? as usize;
    let mut at = header + word(bytes, 8)? as usize;
    let end = at + word(bytes, 12)? as usize;
    let strings = bytes.get(header + word(bytes, 16)? as usize..)?;
    let mut id = 1;
    while at < end {
        let info = word(bytes, at + 4)?;
        let (kind, members) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        if kind == FUNCTION {
            let text = strings.get(word(bytes, at)? as usize..)?;
            if text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0) {
                return Some(id);
            }
        }
        let more = match kind {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => members * 12,
            6 | 13 => members * 8,
            _ => 0,
        };
        at += 12 + more;
        id += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An integer, then two functions.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0tcp\0tcp_close\0";
        let types: [u32; 10] = [1, 1 << 24, 4, 32, 5, 12 << 24, 1, 9, 12 << 24, 1];
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for number in [24, 0, 40, 40, strings.len() as u32] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(types.iter().flat_map(|number| number.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn functions_are_found_by_their_whole_name() {
        assert_eq!(find(&sample(), "tcp_close"), Some(3));
        assert_eq!(find(&sample(), "tcp"), Some(2));
        assert_eq!(find(&sample(), "tcp_clo"), None);
    }
}
