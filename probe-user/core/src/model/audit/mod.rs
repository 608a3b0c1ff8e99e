//! The audit: what was traced compared with the kernel's own counts, by network namespace.

mod compare;
mod kernel_counters;
mod reading;
mod row;

pub use compare::{HIDDEN, audit};
pub use kernel_counters::{Counters, FailureCounters};
pub use reading::{CountedAt, Last, Reading, Sight, Uncertainty};
pub use row::{AuditRow, Basis, COMPARED, count_off, warning};

#[cfg(test)]
mod tests;
