//! Which rows of a long table are shown.

/// Order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SortBy {
    /// TIME_WAIT sockets created.
    #[default]
    Created,
    /// RSTs sent.
    Sent,
    /// RSTs received.
    Received,
    /// Connections that ended without FIN and RST.
    Aborts,
    /// Ephemeral port allocations that failed.
    Failures,
}

impl SortBy {
    /// All figures.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Sent,
        Self::Received,
        Self::Aborts,
        Self::Failures,
    ];
}

/// A row that has all figures.
pub trait Figures {
    /// One of them.
    fn figure(&self, figure: SortBy) -> u64;
}

impl<R: Figures> Figures for &R {
    fn figure(&self, figure: SortBy) -> u64 {
        (*self).figure(figure)
    }
}

/// Whether a row has anything to show.
pub fn has_any<R: Figures>(row: &R) -> bool {
    SortBy::ALL.iter().any(|figure| row.figure(*figure) > 0)
}

/// Rows in the requested order. Those by TIME_WAITs created are in the order of the report.
pub fn sorted<R: Figures>(rows: impl IntoIterator<Item = R>, sort: SortBy) -> Vec<R> {
    let mut rows: Vec<R> = rows.into_iter().collect();
    if sort != SortBy::Created {
        rows.sort_by_key(|row| std::cmp::Reverse(row.figure(sort)));
    }
    rows
}

/// The same as [`split`], by all figures.
pub fn split_by_all<R: Figures>(rows: &[R], max_rows: usize) -> (Vec<&R>, Vec<&R>) {
    let figures = SortBy::ALL.map(|figure| move |row: &R| row.figure(figure));
    split(
        rows,
        max_rows,
        &figures.each_ref().map(|figure| figure as _),
    )
}

/// A figure of a row.
pub type Figure<'f, R> = &'f dyn Fn(&R) -> u64;

/// Splits rows into those that are shown, in their order, and the rest. The row with the largest value of each figure
/// is shown, and a rest is more than one row.
pub fn split<'r, R>(
    rows: &'r [R],
    max_rows: usize,
    figures: &[Figure<'_, R>],
) -> (Vec<&'r R>, Vec<&'r R>) {
    if rows.len() <= max_rows + 1 {
        return (rows.iter().collect(), Vec::new());
    }
    let mut largest: Vec<usize> = figures
        .iter()
        .filter_map(|figure| {
            let values = rows.iter().map(figure).enumerate();
            // The first of equal ones.
            let most = values.rev().max_by_key(|(_, value)| *value);
            most.filter(|(_, value)| *value > 0)
        })
        .map(|(index, _)| index)
        .collect();
    largest.sort_unstable();
    largest.dedup();
    largest.truncate(max_rows);
    let mut shown = largest.clone();
    let others = (0..rows.len()).filter(|index| !largest.contains(index));
    shown.extend(others.take(max_rows - largest.len()));
    shown.sort_unstable();
    let is_shown = |index: usize| shown.binary_search(&index).is_ok();
    let pick = |wanted: bool| {
        let rows = rows.iter().enumerate();
        rows.filter(|(index, _)| is_shown(*index) == wanted)
            .map(|(_, row)| row)
            .collect()
    };
    (pick(true), pick(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_each_figure_is_shown() {
        // TIME_WAITs and RSTs.
        let rows = [(9, 0), (8, 0), (7, 1), (0, 5), (0, 5), (0, 0)];
        let figures: [Figure<'_, (u64, u64)>; 2] = [&|row| row.0, &|row| row.1];
        let (shown, others) = split(&rows, 3, &figures);
        assert_eq!(shown, [&(9, 0), &(8, 0), &(0, 5)]);
        assert_eq!(others, [&(7, 1), &(0, 5), &(0, 0)]);
        let (shown, others) = split(&rows, 5, &figures);
        assert_eq!((shown.len(), others.len()), (6, 0), "no rest of one row");
        let (shown, others) = split(&rows, 1, &figures);
        assert_eq!((shown, others.len()), (vec![&(9, 0)], 5));
        assert_eq!(split(&rows, 0, &figures).1.len(), 6);
    }
}
