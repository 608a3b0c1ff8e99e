//! What a service needs besides tracing: its configuration, its HTTP endpoint, and messages to its manager.

pub mod allowed_hosts;
pub mod config;
pub mod connections;
pub mod counting;
pub mod health;
pub mod http;
pub mod intervals;
pub mod manager;
pub mod own;
pub mod settings;

#[cfg(test)]
mod example_tests;
