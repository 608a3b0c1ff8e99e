//! Columns as wide as their widest cell, or as the page allows.

use std::borrow::Cow;
use std::fmt;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Alignment of a cell's text in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For text.
    Left,
    /// For numbers.
    Right,
    /// For text that may lose its middle on a narrow page, such as an address.
    Cut,
}

/// A table with headings. Cells with untrusted text must already be escaped.
#[derive(Debug)]
pub struct Grid<const N: usize> {
    headings: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Grid<N> {
    /// A table without rows.
    pub fn new(headings: &[(&'static str, Align); N]) -> Self {
        Self {
            headings: *headings,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Titles of the columns, and their alignment.
    pub fn headings(&self) -> &[(&'static str, Align); N] {
        &self.headings
    }

    /// The cells, row by row.
    pub fn rows(&self) -> &[[String; N]] {
        &self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The table without its empty columns, or nothing if it has no rows.
pub fn text<const N: usize>(grid: &Grid<N>) -> String {
    if grid.is_empty() {
        String::new()
    } else {
        grid.fitted(None)
    }
}

/// Between two columns.
const GAP: &str = "  ";
/// Columns are not made narrower than this, even if the table does not fit then.
const NARROWEST: usize = 8;

impl<const N: usize> Grid<N> {
    /// The table without its empty columns, not wider than a page if texts that may be cut are long enough.
    pub fn fitted(&self, page_width: Option<usize>) -> String {
        let mut widths = self.widths();
        for (index, width) in widths.iter_mut().enumerate() {
            if self.rows.iter().all(|row| row[index].is_empty()) {
                *width = 0;
            }
        }
        let total = |widths: &[usize; N]| {
            let columns = widths.iter().filter(|width| **width > 0);
            columns.map(|width| width + GAP.len()).sum::<usize>()
        };
        while let Some(page_width) = page_width
            && total(&widths) > page_width + GAP.len()
        {
            let can_shrink = |index: &usize| {
                self.headings[*index].1 == Align::Cut
                    && widths[*index] > NARROWEST.max(self.headings[*index].0.width())
            };
            let Some(widest) = (0..N).filter(can_shrink).max_by_key(|index| widths[*index]) else {
                break;
            };
            widths[widest] -= 1;
        }
        self.lines(&widths)
    }

    /// Width of the widest cell of each column, including its heading, in columns of a terminal.
    fn widths(&self) -> [usize; N] {
        let mut widths = self.headings.map(|(heading, _)| heading.width());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }

    /// Columns of width 0 are left out, even if they have a heading.
    fn lines(&self, widths: &[usize; N]) -> String {
        let headings = self.headings.map(|(heading, _)| heading.to_owned());
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            let columns = row.iter().zip(widths).zip(self.headings);
            for ((cell, width), (_, align)) in columns {
                if *width == 0 {
                    continue;
                }
                let cell = without_middle(cell, *width);
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                match align {
                    Align::Left | Align::Cut => line.extend([&*cell, &padding]),
                    Align::Right => line.extend([&*padding, &cell]),
                }
                line.push_str(GAP);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text if it fits, else its beginning and its end: `2001:db8…:8080`.
fn without_middle(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    // More of the end, where a port is.
    let head = within(text.chars(), width.saturating_sub(1) / 2);
    let tail = within(text.chars().rev(), width / 2);
    head.into_iter()
        .chain(['…'])
        .chain(tail.into_iter().rev())
        .collect::<String>()
        .into()
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

impl<const N: usize> fmt::Display for Grid<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines(&self.widths()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned() {
        let mut grid = Grid::new(&[("NAME", Align::Left), ("N", Align::Right)]);
        assert!(grid.is_empty());
        grid.row(["é".to_owned(), "1000".to_owned()]);
        grid.row(["longer".to_owned(), "≥7".to_owned()]);
        assert_eq!(
            grid.to_string(),
            "NAME       N\né       1000\nlonger    ≥7\n"
        );
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let mut grid = Grid::new(&[("NAME", Align::Cut), ("N", Align::Right)]);
        grid.row(["日本語".to_owned(), "1".to_owned()]);
        grid.row(["abc".to_owned(), "2".to_owned()]);
        assert_eq!(grid.to_string(), "NAME    N\n日本語  1\nabc     2\n");
        assert_eq!(without_middle("日本語日本語", 7), "日…語");
    }

    #[test]
    fn a_narrow_page_cuts_the_middle_of_addresses_and_empty_columns_go() {
        let mut grid = Grid::new(&[
            ("NETNS", Align::Left),
            ("PEER", Align::Cut),
            ("N", Align::Right),
        ]);
        let peer = "[2001:db8:1:2:3:4:5:6]:8080";
        grid.row([String::new(), peer.to_owned(), "1".to_owned()]);
        assert_eq!(grid.fitted(None), format!("{:27}  N\n{peer}  1\n", "PEER"));
        let narrow = grid.fitted(Some(18));
        assert_eq!(narrow, "PEER             N\n[2001:d…6]:8080  1\n");
        // A page that is too narrow for anything.
        let widest = grid
            .fitted(Some(2))
            .lines()
            .map(|it| it.chars().count())
            .max();
        assert_eq!(widest, Some(NARROWEST + GAP.len() + 1));
    }
}
