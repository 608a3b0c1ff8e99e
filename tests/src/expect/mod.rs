//! What a scenario must make twtrace say: the truth, what a tier can't know of it, and the comparison.

pub mod compare;
pub mod contract;
mod event;
pub mod facts;
pub mod limits;

pub use event::{Check, Expected, ExpectedProcess, Reason, Side, TcpState, Unattributed};
