//! Columns as wide as their widest cell, or as the page allows.

use std::fmt;

use unicode_width::UnicodeWidthStr;

use crate::output::{cut, wrap};

/// Alignment of a cell's text in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For text.
    Left,
    /// For numbers.
    Right,
    /// For text that may lose its middle on a narrow page, such as an address.
    Cut,
    /// For text that may lose its end, such as a remark.
    Tail,
}

/// A table with headings. Cells with untrusted text must already be escaped.
#[derive(Debug)]
pub struct Grid<const N: usize> {
    headings: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
    /// Headings of the columns that a narrow page can do without, the first one most easily.
    spare: &'static [&'static str],
}

impl<const N: usize> Grid<N> {
    /// A table without rows.
    pub fn new(headings: &[(&'static str, Align); N]) -> Self {
        Self {
            headings: *headings,
            rows: Vec::new(),
            spare: &[],
        }
    }

    /// The same, where a narrow page leaves out these columns first. Otherwise it leaves out the last ones.
    pub fn spare(self, spare: &'static [&'static str]) -> Self {
        Self { spare, ..self }
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

/// The table as it fits a page, or nothing if it has no rows.
pub fn text<const N: usize>(grid: &Grid<N>, page_width: Option<usize>) -> String {
    if grid.is_empty() {
        String::new()
    } else {
        grid.fitted(page_width)
    }
}

/// Between two columns.
const GAP: &str = "  ";
/// Columns are not made narrower than this.
const NARROWEST: usize = 8;

impl<const N: usize> Grid<N> {
    /// The table without its empty columns, not wider than a page: texts are cut as their columns allow it. Columns
    /// that do not fit even then are left out, and named below the table.
    pub fn fitted(&self, page_width: Option<usize>) -> String {
        let mut widths = self.widths();
        for (index, width) in widths.iter_mut().enumerate() {
            if self.rows.iter().all(|row| row[index].is_empty()) {
                *width = 0;
            }
        }
        let Some(page_width) = page_width else {
            return self.lines(&widths);
        };
        let left_out = self.leave_out(&mut widths, page_width);
        while total(&widths) > page_width {
            let can_shrink = |index: &usize| widths[*index] > self.narrowest(*index, &widths);
            let Some(widest) = (0..N).filter(can_shrink).max_by_key(|index| widths[*index]) else {
                break;
            };
            widths[widest] -= 1;
        }
        let mut text = self.lines(&widths);
        if !left_out.is_empty() {
            let words = format!("(--wide also shows {})", left_out.join(", "));
            wrap::append(&mut text, "", &words, page_width);
        }
        text
    }

    /// Leaves out columns until the others can be made narrow enough. Returns the headings of those.
    fn leave_out(&self, widths: &mut [usize; N], page_width: usize) -> Vec<&'static str> {
        let spare = self.spare.iter().filter_map(|spare| {
            let mut headings = self.headings.iter();
            headings.position(|(heading, _)| heading == spare)
        });
        let order: Vec<usize> = spare.chain((1..N).rev()).collect();
        let mut left_out = Vec::new();
        for index in order {
            let narrowest: [usize; N] = std::array::from_fn(|index| self.narrowest(index, widths));
            if total(&narrowest) <= page_width {
                break;
            }
            if widths[index] > 0 {
                widths[index] = 0;
                left_out.push(index);
            }
        }
        left_out.sort_unstable();
        let headings = left_out.into_iter().map(|index| self.headings[index].0);
        headings.filter(|heading| !heading.is_empty()).collect()
    }

    /// The width that a column may be cut to.
    fn narrowest(&self, index: usize, widths: &[usize; N]) -> usize {
        match self.headings[index] {
            (heading, Align::Cut | Align::Tail) => {
                widths[index].min(NARROWEST.max(heading.width()))
            }
            (_, Align::Left | Align::Right) => widths[index],
        }
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
                let cell = match align {
                    Align::Tail => cut::end(cell, *width),
                    _ => cut::middle(cell, *width),
                };
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                match align {
                    Align::Left | Align::Cut | Align::Tail => line.extend([&*cell, &padding]),
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

/// Width of a line with these columns.
fn total<const N: usize>(widths: &[usize; N]) -> usize {
    let columns = widths.iter().filter(|width| **width > 0);
    let all: usize = columns.map(|width| width + GAP.len()).sum();
    all.saturating_sub(GAP.len())
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
    }

    #[test]
    fn columns_without_room_are_left_out_and_named() {
        let mut grid = Grid::new(&[
            ("PEER", Align::Cut),
            ("RANGE", Align::Left),
            ("USED", Align::Right),
            ("WHY", Align::Tail),
        ])
        .spare(&["RANGE"]);
        grid.row(["10.0.0.2:8080", "40000-40999", "12", "a long reason"].map(str::to_owned));
        assert_eq!(
            grid.fitted(Some(36)),
            "PEER           USED  WHY\n10.0.0.2:8080    12  a long reason\n(--wide also shows RANGE)\n"
        );
        assert_eq!(
            grid.fitted(Some(28)),
            "PEER        USED  WHY\n10.0…:8080    12  a long re…\n(--wide also shows RANGE)\n"
        );
        assert_eq!(
            grid.fitted(Some(14)),
            "PEER      USED\n10…:8080    12\n(--wide also\nshows RANGE,\nWHY)\n"
        );
        // The first column stays.
        assert!(grid.fitted(Some(1)).starts_with("PEER\n10…:8080\n"));
    }
}
