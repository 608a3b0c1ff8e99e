//! Programs that are attached to nothing: userspace runs them to query what only the kernel knows.

pub mod bound;
pub mod identity;
