//! Which time a report out of a history covers.

use serde::Serialize;

use crate::event::Timestamp;

/// Gaps that are named.
const MAX_GAPS: usize = 20;

/// The intervals that a report was put together of.
#[derive(schemars::JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// How many.
    pub intervals: u64,
    /// Times within what was asked for of which nothing is known: nobody traced, or the interval was lost. The
    /// first ones.
    pub gaps: Vec<Gap>,
    /// How many there are beyond these.
    pub more_gaps: u64,
    /// How long all of them are, nanoseconds.
    pub untraced_ns: u64,
    /// How often the wall clock was set by more than a second, or stood still with the host: times before and after
    /// may overlap.
    pub clock_changes: u64,
    /// Processes that were summed up as `lost`, in all intervals.
    pub processes_folded: u64,
    /// Notable events that the history does not have one by one.
    pub events_left_out: u64,
}

/// A time of which nothing is known.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
}

impl Coverage {
    /// Adds a gap; none where it has no length.
    pub fn add_gap(&mut self, from: Timestamp, to: Timestamp) {
        let Some(length_ns) = to.0.checked_sub(from.0).filter(|length_ns| *length_ns > 0) else {
            return;
        };
        self.untraced_ns = self.untraced_ns.saturating_add(length_ns);
        if self.gaps.len() < MAX_GAPS {
            self.gaps.push(Gap { from, to })
        } else {
            self.more_gaps += 1
        }
    }
}
