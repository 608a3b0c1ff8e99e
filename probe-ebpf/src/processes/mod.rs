//! The acting process: its identity, its names, its cgroup, and the place in its code.

pub mod cgroup;
pub mod names;
pub mod process;
pub mod stack;
