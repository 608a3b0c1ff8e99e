//! What a service needs beside tracing: its configuration, its HTTP endpoint, and what it tells its manager.

pub mod config;
pub mod connections;
pub mod health;
pub mod http;
pub mod manager;
pub mod own;
