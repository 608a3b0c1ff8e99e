//! The time that a report from a history covers.

use serde::Serialize;

use crate::event::Timestamp;

/// Maximum number of gaps that are listed.
const MAX_GAPS: usize = 20;

/// The intervals that a report combines.
#[derive(schemars::JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Number of intervals.
    pub intervals: u64,
    /// Times within the requested time without data: nothing traced, or the interval was lost. The first ones.
    pub gaps: Vec<Gap>,
    /// Number of gaps beyond these.
    pub more_gaps: u64,
    /// Total length of all gaps, nanoseconds.
    pub untraced_ns: u64,
    /// How often the wall clock was set by more than a second, or stopped with the host: times before and after may
    /// overlap.
    pub clock_changes: u64,
    /// Processes that were summed up as `lost`, in all intervals.
    pub processes_folded: u64,
    /// Notable events that the history does not contain individually.
    pub events_left_out: u64,
}

/// A time without data.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Coverage {
    /// Adds a gap, unless its length is zero.
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
