//! The `start` line of `trace --json` and of recordings.

use std::ffi::OsString;
use std::time::Duration;

use serde::Serialize;
use twtrace_core::event::json::{self, FORMAT, Start};
use twtrace_core::filter::Filter;
use twtrace_core::hooks::Hook;
use twtrace_core::model::tally::TracingStart;

use crate::probe::ProbeOptions;
use crate::session::launch;

/// Options in force.
#[derive(Serialize)]
struct Options {
    /// The command line that alone was traced, or null.
    command: Option<Vec<String>>,
    duration_ns: Option<u64>,
    filter: Filter,
    without: Vec<Hook>,
    btf: Option<String>,
    max_sockets: u32,
    max_processes: u32,
    ring_bytes: u32,
    slow_port_ns: u64,
}

/// All of the line except the number of the part.
pub struct StartLine {
    tracing_start: TracingStart,
    options: Options,
}

impl StartLine {
    /// For tracing with these options.
    pub fn new(
        tracing_start: TracingStart,
        duration: Option<Duration>,
        filter: &Filter,
        probing: &ProbeOptions,
        command: &[OsString],
    ) -> Self {
        let options = Options {
            command: (!command.is_empty()).then(|| launch::line(command)),
            duration_ns: duration
                .map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
            filter: filter.clone(),
            without: probing.without.clone(),
            btf: probing
                .btf
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned()),
            max_sockets: probing.max_sockets,
            max_processes: probing.max_processes,
            ring_bytes: probing.ring_bytes,
            slow_port_ns: probing.slow_port_ns,
        };
        Self {
            tracing_start,
            options,
        }
    }

    /// The filter in force.
    pub fn filter(&self) -> &Filter {
        &self.options.filter
    }

    /// Appends the line of a part.
    ///
    /// # Errors
    /// If a value has no JSON form.
    pub fn append(&self, text: &mut Vec<u8>, part: u32) -> serde_json::Result<()> {
        let Self {
            tracing_start,
            options,
        } = self;
        let start = Start {
            ts: tracing_start.at.ts,
            mono_ns: tracing_start.at.mono_ns,
            event: Default::default(),
            format: FORMAT,
            part,
            kernel: &tracing_start.host.kernel,
            host: &tracing_start.host.name,
            options,
            tiers: &tracing_start.tiers,
        };
        json::append(text, &start)
    }
}
