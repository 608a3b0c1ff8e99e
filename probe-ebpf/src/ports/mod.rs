//! Searches for a local port, and reuse of TIME_WAITs by them.

pub mod reuse;
pub mod search;
pub mod syscall;
pub mod uncalled;
