//! Labelled text that is wrapped and can be scrolled.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::app::App;
use super::super::cells::{CellAlign, put};
use super::rule;

/// Width of a label, columns.
const LABEL: u16 = 14;

/// A paragraph, and its label. Already escaped.
#[derive(Clone, Debug)]
pub struct Note {
    /// May be empty.
    pub label: String,
    pub text: String,
    /// Style of the paragraph.
    pub style: Style,
}

/// Draws notes under a title. Returns the first visible line: the requested one, or the last one that fills the area.
pub fn draw(
    app: &App,
    area: Rect,
    buffer: &mut Buffer,
    title: &str,
    notes: &[Note],
    offset: usize,
) -> usize {
    let inner = rule(app, area, buffer, "▶ ", title, app.theme.focused());
    draw_below(app, inner, buffer, notes, offset)
}

/// The same without the title.
pub fn draw_below(
    app: &App,
    area: Rect,
    buffer: &mut Buffer,
    notes: &[Note],
    offset: usize,
) -> usize {
    let width = area.width.saturating_sub(LABEL + 1);
    let lines: Vec<(&str, String, Style)> = notes
        .iter()
        .flat_map(|note| {
            wrap(&note.text, usize::from(width))
                .into_iter()
                .enumerate()
                .map(|(index, line)| match index {
                    0 => (note.label.as_str(), line, note.style),
                    _ => ("", line, note.style),
                })
        })
        .collect();
    let offset = offset.min(lines.len().saturating_sub(usize::from(area.height)));
    for (y, (label, line, style)) in (area.top()..area.bottom()).zip(&lines[offset..]) {
        put(
            buffer,
            (area.x, y),
            LABEL,
            label,
            CellAlign::Left,
            app.theme.key(),
        );
        let x = area.x + LABEL.min(area.width);
        put(buffer, (x, y), width + 1, line, CellAlign::Left, *style);
    }
    offset
}

/// Lines of at most `width` columns; longer words are broken.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for (index, word) in text.split(' ').enumerate() {
        let needed = word.width();
        // Leading blanks of a line are kept, those at a line break are not.
        if used > 0 || (index > 0 && lines.len() == 1) {
            if used + 1 + needed <= width {
                push(&mut lines, " ");
                used += 1;
            } else {
                lines.push(String::new());
                used = 0;
            }
        }
        for char in word.chars() {
            let columns = char.width().unwrap_or(0);
            if used + columns > width && used > 0 {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, char.encode_utf8(&mut [0; 4]));
            used += columns;
        }
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole_where_they_can_be() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("", 8), [""]);
        assert_eq!(wrap("  1  2", 8), ["  1  2"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("日本", 1), ["日", "本"]);
    }
}
