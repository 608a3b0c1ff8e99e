//! Columns as wide as their widest cell.

use std::fmt;

/// Alignment of a cell's text in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For text.
    Left,
    /// For numbers.
    Right,
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

/// The table, or nothing if it has no rows.
pub fn text<const N: usize>(grid: &Grid<N>) -> String {
    if grid.is_empty() {
        String::new()
    } else {
        grid.to_string()
    }
}

impl<const N: usize> fmt::Display for Grid<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = self.headings.map(|(heading, _)| heading.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let headings = self.headings.map(|(heading, _)| heading.to_owned());
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, align)) in row.iter().zip(widths).zip(self.headings) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let padding = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => line.extend([cell.as_str(), &padding]),
                    Align::Right => line.extend([padding.as_str(), cell]),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
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
}
