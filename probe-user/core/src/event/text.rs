//! Untrusted text on a terminal: the user that starts a process chooses its name and paths.

use std::fmt::Write;

use crate::event::comm::is_unsafe;

/// Escapes what a terminal would interpret or not show: control characters, marks that change the direction of text,
/// separators and invisible characters. Everything else is unchanged.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if is_unsafe(char) {
            // Writing to a String does not fail.
            let _ = match char {
                '\0'..='\x7f' => write!(escaped, "\\x{:02x}", u32::from(char)),
                _ => write!(escaped, "\\u{{{:x}}}", u32::from(char)),
            };
        } else {
            escaped.push(char);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terminals_are_not_commanded() {
        assert_eq!(escape("\x1b[31mred\x07"), "\\x1b[31mred\\x07");
        assert_eq!(escape("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(escape("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(escape("a\nb\tc\r"), "a\\x0ab\\x09c\\x0d");
        assert_eq!(escape("naïve-日本 \u{fffd}"), "naïve-日本 \u{fffd}");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_comes_through(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(is_unsafe));
        }
    }
}
