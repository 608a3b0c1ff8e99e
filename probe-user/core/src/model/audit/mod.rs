//! The audit: what was traced compared with the kernel's own counts, by network namespace.

mod compare;
mod counters;
mod reading;
mod row;

pub use compare::{HIDDEN, audit};
pub use counters::{Counters, FailureCounters};
pub use reading::{CountedAt, Last, Reading, Sight, Uncertainty};
pub use row::{AuditRow, Basis, COMPARED, count_off, warning};

#[cfg(test)]
mod tests;
