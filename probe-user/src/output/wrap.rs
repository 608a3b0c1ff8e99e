//! Text in lines of limited width. Widths are columns of a terminal.

use unicode_width::UnicodeWidthStr;

/// Width of texts that are not printed to a terminal.
pub const WIDTH: usize = 80;

/// Appends words to a text: the first line after `first`, the others after as many spaces. Words that are longer than a
/// line are not broken.
pub fn append(text: &mut String, first: &str, words: &str, width: usize) {
    append_after(text, (first, first.width()), words, width);
}

/// The same after a text whose width is known, such as one with colours.
pub fn append_after(text: &mut String, (first, indent): (&str, usize), words: &str, width: usize) {
    text.push_str(first);
    let mut used = indent;
    let mut is_empty = true;
    // Spaces before the next word, if it is on the same line.
    let mut spaces = 0;
    for word in words.split(' ') {
        let of_word = word.width();
        if !word.is_empty() {
            if !is_empty && used + spaces + of_word > width {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent));
                used = indent;
            } else {
                text.extend(std::iter::repeat_n(' ', spaces));
                used += spaces;
            }
            text.push_str(word);
            used += of_word;
            is_empty = false;
            spaces = 0;
        }
        spaces += 1;
    }
    let end = text.trim_end_matches(' ').len();
    text.truncate(end);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{append, append_after};

    #[test]
    fn lines_are_filled_and_long_words_stay_whole() {
        let mut text = String::new();
        append(&mut text, "Do  ", "one two three 0123456789ab end", 12);
        assert_eq!(text, "Do  one two\n    three\n    0123456789ab\n    end\n");
    }

    #[test]
    fn columns_count_and_not_characters() {
        let mut text = String::new();
        append_after(
            &mut text,
            ("\x1b[1mDo\x1b[0m  ", 4),
            "日本 e\u{301}e   one",
            10,
        );
        assert_eq!(text, "\x1b[1mDo\x1b[0m  日本\n    e\u{301}e\n    one\n");
        let mut text = String::new();
        append(&mut text, "", "one   two", 80);
        assert_eq!(text, "one   two\n");
    }
}
