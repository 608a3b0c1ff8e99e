//! Searches for a local port (port allocation), and the TIME_WAITs that they reuse.

pub mod no_address;
pub mod reuse;
pub mod search;
pub mod syscall;
pub mod uncalled;
