//! Recordings.

pub mod observation;
