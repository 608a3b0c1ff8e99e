//! Connections, from their beginning to their end.

pub mod accept;
pub mod closed;
pub mod transitions;
