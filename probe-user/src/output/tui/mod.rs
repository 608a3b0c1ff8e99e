//! `twtrace top`: the full-screen view.
//!
//! [`App`] holds the state: it takes events, a [`ReportSample`] about once per second, and keys; it draws itself into any
//! frame of ratatui. It has no clock and does no I/O, so live views, replays and tests share it. [`terminal::Screen`]
//! owns the terminal.

mod app;
mod cells;
mod filter_line;
mod history;
mod keys;
mod layout;
mod live;
mod pane;
mod rates;
mod sort;
mod tail;
pub mod terminal;
mod theme;
mod towards;
mod view;

pub use app::{Action, App, ReplaySpan, ReportSample, ViewOptions};

#[cfg(test)]
mod samples;
#[cfg(test)]
pub mod screen_tests;
#[cfg(test)]
mod state_tests;
