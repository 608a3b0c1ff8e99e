//! Orders of tables.

/// A column that rows can be ordered by.
pub trait SortBy: Copy + PartialEq + 'static {
    /// All of them, in the order of keys.
    const ALL: &'static [Self];
}

/// Rows of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByProcess {
    /// TIME_WAITs a second, of any side.
    Rate,
    /// TIME_WAITs that are alive.
    Alive,
    /// RSTs a second, either way.
    Resets,
    /// Searches for a port a second.
    Searches,
    /// The slowest 99th percentile.
    P99,
    /// Searches that failed.
    Failures,
    /// The name.
    Name,
}

/// Rows of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByDestination {
    /// TIME_WAITs a second.
    Rate,
    /// TIME_WAITs made.
    TimeWaits,
    /// RSTs either way.
    Resets,
    /// Part of the ports that is used.
    Used,
    /// Time until none is left.
    Left,
    /// Searches that failed.
    Failures,
    /// The address.
    Name,
}

impl SortBy for ByProcess {
    const ALL: &'static [Self] = &[
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

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortOrder<T> {
    /// The column.
    pub by: T,
    /// The other way round: numbers upwards, names downwards.
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
    /// The next column, its usual way round.
    pub fn next(&mut self) {
        let at = T::ALL.iter().position(|by| *by == self.by).unwrap_or(0);
        self.by = T::ALL[(at + 1) % T::ALL.len()];
        self.is_reversed = false;
    }

    /// The other way round.
    pub fn reverse(&mut self) {
        self.is_reversed = !self.is_reversed;
    }

    /// What stands beside the heading of a column.
    pub fn mark(&self, by: Option<T>) -> Option<&'static str> {
        (by == Some(self.by)).then_some(if self.is_reversed { "▲" } else { "▼" })
    }
}
