//! The column DETAILS of `trace`: what a kind of event reports besides the other columns, in words.

use std::fmt::{self, Write as _};

use super::event_table::Flow;
use super::process::Process;
use super::quantity;
use super::text::escape;

/// The text so far, separated by commas.
#[derive(Clone, Debug, Default)]
pub struct Details(String);

impl Details {
    /// Appends a detail.
    pub fn add(&mut self, more: fmt::Arguments<'_>) {
        if !self.0.is_empty() {
            self.0.push_str(", ");
        }
        // Writing to a String does not fail.
        let _ = self.0.write_fmt(more);
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.0
    }

    /// Appends a time with its name, if it is known.
    pub(super) fn time(&mut self, what: &str, ns: Option<u64>) {
        if let Some(ns) = ns {
            self.add(format_args!("{what} {}", quantity::duration(ns)));
        }
    }

    /// Appends how long each end had been idle when the connection ended; in recordings of earlier versions, both
    /// together.
    pub(super) fn silence(&mut self, flow: &Flow, of_peer: bool) {
        if flow.peer_silent_ns.is_none() && flow.send_idle_ns.is_none() {
            return self.time("idle", flow.idle_ns);
        }
        self.time("peer silent", flow.peer_silent_ns.filter(|_| of_peer));
        if let Some(sent_ns) = flow.send_idle_ns {
            self.add(format_args!(
                "last sent {} ago",
                quantity::duration(sent_ns)
            ));
        }
    }

    pub(super) fn bytes(&mut self, flow: &Flow) {
        if let (Some(sent), Some(received)) = (flow.bytes_sent, flow.bytes_received) {
            let (sent, received) = (quantity::bytes(sent), quantity::bytes(received));
            self.add(format_args!("sent {sent} received {received}"));
        }
    }
}

/// Such as `nginx(1234)`, with the acting thread's name if it has one of its own: `java(99)/http-7`.
pub fn process_name(process: &Process) -> String {
    let comm = if process.comm.is_empty() {
        "?".to_owned()
    } else {
        escape(&process.comm.text())
    };
    let mut name = format!("{comm}({})", process.key.tgid);
    if !process.thread_comm.is_empty() && process.thread_comm != process.comm {
        // Writing to a String does not fail.
        let _ = write!(name, "/{}", escape(&process.thread_comm.text()));
    }
    name
}
