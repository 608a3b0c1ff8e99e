//! What is kept from one hook to the next: connection states of sockets, those that are closing and those just destroyed, listeners,
//! what the start-up scan has found, calls under way.

pub mod call;
pub mod closing;
pub mod conn;
pub mod existing;
pub mod listener;
pub mod recent;
pub mod stash;
pub mod subflow;
