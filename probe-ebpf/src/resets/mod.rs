//! RSTs sent and received.

pub mod reset;
pub mod unaccepted;
