//! Data and rules of twtrace, without a clock, a file or a socket: each layer needs only those above it in this list,
//! which a test of the library above ensures (`layer_tests.rs`).

pub mod hooks;

pub mod nearest;

pub mod event;

pub mod filter;

pub mod model;

pub mod doctor;

pub mod explain;
