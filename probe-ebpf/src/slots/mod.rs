//! What is kept from one hook to the next: connection states of sockets, closing and just destroyed sockets, listeners,
//! results of the start-up scan, calls in progress.

pub mod call;
pub mod closing;
pub mod conn;
pub mod existing;
pub mod listener;
pub mod recent;
pub mod stash;
pub mod subflow;
