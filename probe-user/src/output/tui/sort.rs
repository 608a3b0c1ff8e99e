//! Sort orders of tables.

/// A column that rows can be sorted by.
pub trait SortBy: Copy + PartialEq + 'static {
    /// All columns, in the order in which the key selects them.
    const ALL: &'static [Self];
}

/// Rows of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByProcess {
    /// The largest share that a row has of any figure: one that matters in a single figure is in sight.
    Share,
    /// TIME_WAITs per second, of any side.
    Rate,
    /// TIME_WAITs that are alive.
    Alive,
    /// RSTs per second, sent or received.
    Resets,
    /// Port allocations per second.
    Searches,
    /// The slowest 99th percentile.
    P99,
    /// Port allocations that failed.
    Failures,
    Name,
}

/// Rows of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByDestination {
    /// TIME_WAITs per second.
    Rate,
    /// TIME_WAITs created.
    TimeWaits,
    /// RSTs, sent or received.
    Resets,
    /// Used fraction of the ports.
    Used,
    /// Time until none is left.
    Left,
    /// Port allocations that failed.
    Failures,
    Name,
}

impl SortBy for ByProcess {
    const ALL: &'static [Self] = &[
        Self::Share,
        Self::Rate,
        Self::Alive,
        Self::Resets,
        Self::Searches,
        Self::P99,
        Self::Failures,
        Self::Name,
    ];
}

impl SortBy for ByDestination {
    const ALL: &'static [Self] = &[
        Self::Rate,
        Self::TimeWaits,
        Self::Resets,
        Self::Used,
        Self::Left,
        Self::Failures,
        Self::Name,
    ];
}

/// A sort order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortOrder<T> {
    pub by: T,
    /// Reversed: numbers ascending, names descending.
    pub is_reversed: bool,
}

impl<T: SortBy> Default for SortOrder<T> {
    fn default() -> Self {
        Self {
            by: T::ALL[0],
            is_reversed: false,
        }
    }
}

impl<T: SortBy> SortOrder<T> {
    /// Selects the next column, in its usual order.
    pub fn next(&mut self) {
        let at = T::ALL.iter().position(|by| *by == self.by).unwrap_or(0);
        self.by = T::ALL[(at + 1) % T::ALL.len()];
        self.is_reversed = false;
    }

    /// Reverses the order.
    pub fn reverse(&mut self) {
        self.is_reversed = !self.is_reversed;
    }

    /// The mark beside the heading of a column.
    pub fn mark(&self, by: Option<T>) -> Option<&'static str> {
        (by == Some(self.by)).then_some(if self.is_reversed { "▲" } else { "▼" })
    }
}
