//! Shortens text that is wider than its column. Widths are columns of a terminal.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longest end of an address that is a port: `:65535`.
const PORT: usize = 6;

/// The text if it fits, else its beginning and its end: `2001:db8…:8080`. A port is kept whole if there is room for it.
pub fn middle(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let room = width.saturating_sub(1);
    // More of the end, where a port is.
    let tail = (width / 2).max(port(text)).min(room);
    let head = within(text.chars(), room - tail);
    let tail = within(text.chars().rev(), tail);
    head.into_iter()
        .chain(['…'])
        .chain(tail.into_iter().rev())
        .collect::<String>()
        .into()
}

/// The text if it fits, else its beginning: `sent linger_ze…`.
pub fn end(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let head = within(text.chars(), width.saturating_sub(1));
    head.into_iter().chain(['…']).collect::<String>().into()
}

/// Length of the port at the end of an address, with its colon; 0 for other texts.
fn port(text: &str) -> usize {
    let port = text.rfind(':').map_or("", |colon| &text[colon..]);
    let is_port = port.len() <= PORT && port.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    if is_port { port.len() } else { 0 }
}

/// As many of the first characters as fit.
fn within(chars: impl Iterator<Item = char>, width: usize) -> Vec<char> {
    let mut room = width;
    chars
        .map_while(|char| {
            room = room.checked_sub(char.width().unwrap_or(0))?;
            Some(char)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(middle("日本語日本語", 7), "日…語");
        assert_eq!(end("日本語日本語", 6), "日本…");
        assert_eq!(end("日本語", 6), "日本語");
    }

    #[test]
    fn a_port_stays_whole() {
        assert_eq!(middle("127.0.0.1:40001", 8), "1…:40001");
        assert_eq!(middle("127.0.0.1:40001", 7), "…:40001");
        assert_eq!(middle("[2001:db8:1:2:3:4:5:6]:80", 16), "[2001:d…:5:6]:80");
        // Where there is no room for it.
        assert_eq!(middle("127.0.0.1:40001", 4), "…001");
        assert_eq!(middle("text", 1), "…");
        assert_eq!(end("text", 1), "…");
    }
}
