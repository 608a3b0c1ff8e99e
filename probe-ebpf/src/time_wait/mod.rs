//! TIME_WAITs: how they are made, and how they end.

pub mod birth;
pub mod end;
pub mod inferred;
pub mod timer;
