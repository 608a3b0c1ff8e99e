//! The audit: what was traced against what the kernel counted itself, by network namespace.

mod compare;
mod reading;
mod row;

pub use compare::audit;
pub use reading::{CountedAt, Last, Reading, Sight, Uncertainty};
#[cfg(test)]
pub use row::Basis;
pub use row::{AuditRow, COMPARED, count_off, warning};

#[cfg(test)]
mod tests;
