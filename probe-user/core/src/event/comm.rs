//! Names of tasks, as the kernel keeps them.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use twtrace_wire::COMM_LEN;

/// A task's comm: up to 15 arbitrary bytes. Displayed with U+FFFD for invalid UTF-8; control characters are kept, so
/// terminal output has to use [`crate::event::text`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Comm([u8; COMM_LEN]);

impl Comm {
    /// From a record: NUL-padded.
    pub const fn new(bytes: [u8; COMM_LEN]) -> Self {
        Self(bytes)
    }

    /// From /proc: any number of bytes, of which the kernel keeps 15.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut padded = [0; COMM_LEN];
        let length = bytes.len().min(COMM_LEN - 1);
        padded[..length].copy_from_slice(&bytes[..length]);
        Self(padded)
    }

    /// From the result of [`Self::text`]. A replacement character becomes one byte that is not UTF-8 either, so that no
    /// name gets longer than it was; longer names from untrusted files are cut.
    pub fn from_text(text: &str) -> Self {
        let mut padded = [0; COMM_LEN];
        let mut length = 0;
        let mut buffer = [0; 4];
        for char in text.chars() {
            let bytes: &[u8] = match char {
                char::REPLACEMENT_CHARACTER => &[0xff],
                char => char.encode_utf8(&mut buffer).as_bytes(),
            };
            if length + bytes.len() >= COMM_LEN {
                break;
            }
            padded[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        }
        Self(padded)
    }

    /// As in a record: NUL-padded.
    pub const fn padded(&self) -> [u8; COMM_LEN] {
        self.0
    }

    /// The bytes before the first NUL.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(COMM_LEN);
        &self.0[..end]
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }

    /// The name, with U+FFFD for invalid UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Whether this is the comm of a program of that name: the kernel cuts names to 15 bytes.
    pub fn is_of(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.as_bytes() == &name[..name.len().min(COMM_LEN - 1)]
    }
}

/// Whether a character controls a terminal or is invisible: control characters, marks that change the direction of
/// text, separators and invisible ones.
pub fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

impl Serialize for Comm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn comm(bytes: &[u8]) -> Comm {
        Comm::from_bytes(bytes)
    }

    #[test]
    fn ends_at_the_first_nul() {
        assert_eq!(comm(b"curl\0junk").text(), "curl");
        assert_eq!(Comm::new([b'x'; COMM_LEN]).as_bytes().len(), COMM_LEN);
        assert!(comm(b"").is_empty());
    }

    #[test]
    fn invalid_utf8_becomes_the_replacement_character() {
        assert_eq!(
            serde_json::to_string(&comm(b"a\xff\xc3b\x1b[31m")).unwrap(),
            "\"a\u{fffd}\u{fffd}b\\u001b[31m\""
        );
    }

    #[test]
    fn long_names_match_as_the_kernel_cuts_them() {
        assert!(comm(b"systemd-resolve").is_of("systemd-resolved"));
        assert!(comm(b"curl").is_of("curl"));
        assert!(!comm(b"curl").is_of("curly"));
        assert!(!comm(b"curl").is_of("cur"));
    }

    proptest! {
        #[test]
        fn a_name_reads_back_as_it_was_shown(bytes in prop::collection::vec(1_u8.., 0..COMM_LEN)) {
            let text = comm(&bytes).text().into_owned();
            let read = Comm::from_text(&text);
            prop_assert_eq!(read.text(), text);
        }

        #[test]
        fn names_of_strangers_are_cut(text in any::<String>()) {
            let read = Comm::from_text(&text);
            prop_assert!(read.as_bytes().len() < COMM_LEN);
        }
    }
}
