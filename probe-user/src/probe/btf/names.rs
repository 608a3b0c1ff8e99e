//! Finds a few names among all strings of a BTF file.

use std::collections::HashMap;

/// [`WantedNames::lengths`] distinguishes lengths up to this.
const LONGEST: usize = 63;

pub struct WantedNames<'a> {
    names: Vec<&'a str>,
    /// For each first byte: one bit per length of a wanted name with this byte.
    lengths: [u64; 256],
}

impl<'a> WantedNames<'a> {
    /// Looks for these names; an empty one is never found.
    pub fn new(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        let mut lengths = [0; 256];
        for name in &names {
            lengths[usize::from(name.as_bytes()[0])] |= length_bit(name.len());
        }
        Self { names, lengths }
    }

    /// The offset of each name that is among these strings, each of which ends with a zero byte. The BTF of a kernel
    /// has each string once (`btf_dedup`). Otherwise the first one counts.
    pub fn find(&self, strings: &[u8]) -> HashMap<Vec<u8>, u32> {
        let mut found = HashMap::with_capacity(self.names.len());
        let mut start = 0;
        for end in memchr::memchr_iter(0, strings) {
            let string = &strings[start..end];
            if self.may_want(string)
                && self
                    .names
                    .binary_search_by(|name| name.as_bytes().cmp(string))
                    .is_ok()
                && let Ok(offset) = u32::try_from(start)
            {
                found.entry(string.to_vec()).or_insert(offset);
            }
            start = end + 1;
        }
        found
    }

    /// The first byte and the length rule out most strings.
    fn may_want(&self, string: &[u8]) -> bool {
        string
            .first()
            .is_some_and(|first| self.lengths[usize::from(*first)] & length_bit(string.len()) != 0)
    }
}

/// All longer lengths share the bit of length 0, which no name has.
fn length_bit(length: usize) -> u64 {
    1 << if length <= LONGEST { length } else { 0 }
}

/// The wanted offsets of the string section: one bit each.
pub struct OffsetSet(Vec<u64>);

impl OffsetSet {
    /// For a string section of `strings_bytes` bytes.
    pub fn new(strings_bytes: usize, offsets: impl Iterator<Item = u32>) -> Self {
        let mut words = vec![0; strings_bytes / 64 + 1];
        for offset in offsets {
            if let Some(word) = words.get_mut(offset as usize / 64) {
                *word |= 1 << (offset % 64);
            }
        }
        Self(words)
    }

    /// Whether this offset is wanted.
    pub fn contains(&self, offset: u32) -> bool {
        self.0
            .get(offset as usize / 64)
            .is_some_and(|word| word >> (offset % 64) & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_found_and_no_parts_of_others() {
        let long = "x".repeat(100);
        let strings = format!("\0sock_common\0sock\0so\0{long}\0sock\0\0cut off");
        let wanted = WantedNames::new(["sock", "so", "missing", "", &long, "cut off"]);
        let mut found: Vec<(String, u32)> = wanted
            .find(strings.as_bytes())
            .into_iter()
            .map(|(name, offset)| (String::from_utf8(name).unwrap(), offset))
            .collect();
        found.sort();
        let at = |name: &str| strings.find(&format!("\0{name}\0")).unwrap() as u32 + 1;
        assert_eq!(
            found,
            [
                ("so".to_owned(), at("so")),
                ("sock".to_owned(), at("sock")),
                (long.clone(), at(&long)),
            ]
        );
    }

    #[test]
    fn offsets_are_members_or_not() {
        let set = OffsetSet::new(200, [0, 63, 64, 199].into_iter());
        let members: Vec<u32> = (0..300).filter(|offset| set.contains(*offset)).collect();
        assert_eq!(members, [0, 63, 64, 199]);
        assert!(!OffsetSet::new(0, [1000].into_iter()).contains(1000));
    }
}
