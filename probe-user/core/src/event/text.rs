//! Untrusted text on a terminal or for a shell: the user that starts a process chooses its name and paths.

use std::borrow::Cow;
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

/// A word for a shell: as it is, if it has no character with a meaning there.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        shell_quoted(word).into()
    }
}

/// The same in quotes, whatever it is.
pub fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
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

    #[test]
    fn a_shell_takes_it_for_one_word() {
        for (word, shown) in [
            ("/run/netns/blue", "/run/netns/blue"),
            ("a b;c", "'a b;c'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(word), shown);
        }
        assert_eq!(shell_quoted("1"), "'1'");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_comes_through(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(is_unsafe));
        }
    }
}
