//! What a scenario must make twtrace report: the truth, the limits of a tier, and the comparison.

pub mod compare;
pub mod contract;
pub mod environment;
mod event;
pub mod limits;

pub use event::{Check, Expected, ExpectedProcess, Reason, Side, TcpState, Unattributed};
