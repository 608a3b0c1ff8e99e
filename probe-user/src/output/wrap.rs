//! Text in lines of limited width.

/// Width of texts that are not printed to a terminal.
pub const WIDTH: usize = 80;

/// Appends words to a text: the first line after `first`, the others after as many spaces. Words that are longer than a
/// line are not broken.
pub fn append(text: &mut String, first: &str, words: &str, width: usize) {
    let indent = first.chars().count();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > width {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::append;

    #[test]
    fn lines_are_filled_and_long_words_stay_whole() {
        let mut text = String::new();
        append(&mut text, "Do  ", "one two three 0123456789ab end", 12);
        assert_eq!(text, "Do  one two\n    three\n    0123456789ab\n    end\n");
    }
}
