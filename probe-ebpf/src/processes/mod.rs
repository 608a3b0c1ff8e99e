//! Who acts: the process behind what happens in process context, its names, its cgroup, and where in its code it does so.

pub mod cgroup;
pub mod names;
pub mod process;
pub mod stack;
