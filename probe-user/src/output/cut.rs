//! Shortens text that is wider than its column. Widths are columns of a terminal.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longest end that is kept whole: `(4194304)`.
const LONGEST: usize = 9;

/// The text if it fits, else its beginning and its end: `2001:db8…:8080`. A port or
/// process id is kept whole if there is room for it.
pub fn middle(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let room = width.saturating_sub(1);
    // More of the end, where a port is.
    let tail = (width / 2).max(kept(text)).min(room);
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

/// Length of an end that tells one address or process from others: a port with its colon, a process id in parentheses; 0
/// for other texts.
fn kept(text: &str) -> usize {
    let end = match text.rfind([':', '(']) {
        Some(begin) => &text[begin..],
        None => return 0,
    };
    let number = match end.strip_prefix('(') {
        Some(rest) => rest.strip_suffix(')').unwrap_or("?"),
        None => &end[1..],
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && end.len() <= LONGEST {
        end.len()
    } else {
        0
    }
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
    fn a_port_or_a_process_id_stays_whole() {
        assert_eq!(middle("python3(4194304)", 12), "py…(4194304)");
        assert_eq!(middle("(closed_before_tracing)", 10), "(clo…cing)");
        assert_eq!(middle("127.0.0.1:40001", 8), "1…:40001");
        assert_eq!(middle("127.0.0.1:40001", 7), "…:40001");
        assert_eq!(middle("[2001:db8:1:2:3:4:5:6]:80", 16), "[2001:d…:5:6]:80");
        // Where there is no room for it.
        assert_eq!(middle("127.0.0.1:40001", 4), "…001");
        assert_eq!(middle("text", 1), "…");
        assert_eq!(end("text", 1), "…");
    }
}
