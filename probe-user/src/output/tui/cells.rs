//! Text in a given number of terminal columns.
//!
//! Each cell is drawn at a fixed position, so that a name that takes more or fewer columns than it has characters
//! shifts nothing beside it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

/// Alignment of text, and what is cut if there is not enough room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellAlign {
    /// Left; the end is cut.
    Left,
    /// Right; the end is cut.
    Right,
    /// Left; the middle is cut, which keeps the port of an address.
    Ends,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub heading: &'static str,
    /// In terminal columns; 0 for the rest of the width.
    pub width: u16,
    pub align: CellAlign,
}

/// A cell: escaped text, and its style.
pub type Cell = (String, Style);

/// Columns between two columns of a table.
const GAP: u16 = 1;
/// Columns kept at the end of a text whose middle is cut: `]:65535` and a little more.
const TAIL: usize = 9;

/// Draws text into `width` columns at (x, y).
pub fn put(
    buffer: &mut Buffer,
    at: (u16, u16),
    width: u16,
    text: &str,
    align: CellAlign,
    style: Style,
) {
    let (x, y) = at;
    let area = *buffer.area();
    if width == 0 || y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
        return;
    }
    let width = width.min(area.right() - x);
    let needed = text.width();
    let room = usize::from(width);
    if needed <= room {
        let shift = match align {
            CellAlign::Right => width - needed as u16,
            CellAlign::Left | CellAlign::Ends => 0,
        };
        buffer.set_stringn(x + shift, y, text, room, style);
        return;
    }
    let tail = match align {
        // Addresses are ASCII; other text is cut at its end.
        CellAlign::Ends if text.is_ascii() && room > 2 * TAIL => &text[text.len() - TAIL..],
        _ => "",
    };
    let (next, _) = buffer.set_stringn(x, y, text, room - 1 - tail.len(), style);
    let (next, _) = buffer.set_stringn(next, y, "…", 1, style);
    buffer.set_stringn(next, y, tail, tail.len(), style);
}

/// The width of each column, for the total `width`.
fn widths(columns: &[Column], width: u16) -> Vec<u16> {
    let fixed: u16 = columns.iter().map(|column| column.width).sum();
    let gaps = GAP * (columns.len().saturating_sub(1)) as u16;
    let open = columns.iter().filter(|column| column.width == 0).count() as u16;
    let rest = width.saturating_sub(fixed + gaps);
    columns
        .iter()
        .map(|column| match column.width {
            0 => rest / open.max(1),
            own => own,
        })
        .collect()
}

/// Draws headings and as many rows as fit. `heading` returns the style and the sort mark of a column.
pub fn table(
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Column],
    heading: impl Fn(usize) -> (Style, &'static str),
    rows: impl Iterator<Item = (Vec<Cell>, Option<Style>)>,
) {
    if area.is_empty() {
        return;
    }
    let widths = widths(columns, area.width);
    for (index, (column, (x, width))) in columns.iter().zip(places(area, &widths)).enumerate() {
        let (style, mark) = heading(index);
        let text = format!("{}{mark}", column.heading);
        put(buffer, (x, area.y), width, &text, column.align, style);
    }
    for (y, (cells, selected)) in (area.y + 1..area.bottom()).zip(rows) {
        for ((text, style), (column, (x, width))) in
            cells.iter().zip(columns.iter().zip(places(area, &widths)))
        {
            put(buffer, (x, y), width, text, column.align, *style);
        }
        if let Some(style) = selected {
            buffer.set_style(Rect::new(area.x, y, area.width, 1), style);
        }
    }
}

/// Start and width of each column that fits.
fn places(area: Rect, widths: &[u16]) -> impl Iterator<Item = (u16, u16)> {
    let mut x = area.x;
    widths.iter().map(move |width| {
        let at = x.min(area.right());
        x = x.saturating_add(width + GAP);
        (at, (*width).min(area.right() - at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, width: u16, align: CellAlign) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width + 2, 1));
        put(&mut buffer, (0, 0), width, text, align, Style::new());
        let mut line = String::new();
        let mut x = 0;
        while x < width + 2 {
            let symbol = buffer[(x, 0)].symbol();
            line.push_str(symbol);
            x += symbol.width().max(1) as u16;
        }
        line.trim_end().to_owned()
    }

    #[test]
    fn text_fits_its_columns() {
        assert_eq!(shown("nginx", 8, CellAlign::Left), "nginx");
        assert_eq!(shown("nginx", 8, CellAlign::Right), "   nginx");
        assert_eq!(shown("nginx-worker", 8, CellAlign::Left), "nginx-w…");
        // Two columns each, which can't be divided.
        assert_eq!(shown("日本語日本語", 8, CellAlign::Left), "日本語…");
        assert_eq!(shown("日本", 6, CellAlign::Right), "  日本");
        assert_eq!(
            shown("e\u{301}e\u{301}e\u{301}", 2, CellAlign::Left),
            "e\u{301}…"
        );
    }

    #[test]
    fn an_address_keeps_its_port() {
        let address = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";
        assert_eq!(
            shown(address, 24, CellAlign::Ends),
            "[2001:db8:1111…66]:65535"
        );
        assert_eq!(shown(address, 10, CellAlign::Ends), "[2001:db8…");
    }
}
