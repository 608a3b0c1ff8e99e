//! Scenarios with known truth, compared with what twtrace reports.
//!
//! A **scenario** is a piece of TCP traffic. It is played on a **stage**: a process in a network namespace of its own,
//! which starts **actors** (also processes), sends them one command at a time, and so knows what must be reported. The
//! **runner** starts twtrace and the stages, collects the events of each stage's namespace and compares them with the
//! stage's truth, less what the running tier can't know ([`expect::limits`]).

pub mod actor;
pub mod bench;
pub mod expect;
pub mod runner;
pub mod scenarios;
pub mod soak;
pub mod stage;
pub mod storm;
pub mod sys;
pub mod tun_peer;
