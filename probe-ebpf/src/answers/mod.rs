//! Programs that are attached to nothing: userspace runs them itself, to ask what only the kernel knows.

pub mod bound;
pub mod identity;
