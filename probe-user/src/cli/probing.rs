//! Options of the probes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use twtrace_core::hooks::Hook;

use super::values;
use crate::probe::ProbeOptions;

/// How to probe.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Probing")]
pub struct ProbeArgs {
    /// Do not use this kind of hook (repeatable, comma-separated).
    #[arg(
        long,
        value_name = "HOOK",
        env = "TWTRACE_WITHOUT",
        value_enum,
        value_delimiter = ','
    )]
    pub without: Vec<Hook>,
    /// Use the kernel's timer tracepoints.
    ///
    /// They cost a little for every timer of the host.
    #[arg(long, value_name = "ON|OFF", value_enum, default_value_t = Switch::On,
          hide_possible_values = true)]
    pub timers: Switch,
    /// Read BTF from this file, not from /sys/kernel/btf/vmlinux.
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Follow up to N sockets at a time.
    #[arg(long, value_name = "N", default_value_t = 131_072,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_sockets: u32,
    /// Count up to N processes.
    #[arg(long, value_name = "N", default_value_t = 16_384,
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_processes: u32,
    /// Use a ring buffer of N MiB, a power of two.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = values::power_of_two(1, 1_024),
          conflicts_with = "ring_kb")]
    pub ring_mb: u32,
    /// Use a ring buffer of N KiB, a power of two.
    #[arg(long, value_name = "N", value_parser = values::power_of_two(4, 1_048_576))]
    pub ring_kb: Option<u32>,
    /// Report port allocations that take this long; 0: all.
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = values::duration)]
    pub slow_port: Duration,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Use it.
    On,
    /// Do not.
    Off,
}

impl ProbeArgs {
    /// As options of the loader.
    pub fn options(&self) -> ProbeOptions {
        let mut without = self.without.clone();
        if self.timers == Switch::Off && !without.contains(&Hook::Timers) {
            without.push(Hook::Timers);
        }
        ProbeOptions {
            without,
            btf: self.btf.clone(),
            max_sockets: self.max_sockets,
            max_processes: self.max_processes,
            ring_bytes: match self.ring_kb {
                Some(ring_kb) => ring_kb << 10,
                None => self.ring_mb << 20,
            },
            slow_port_ns: u64::try_from(self.slow_port.as_nanos()).unwrap_or(u64::MAX),
            tell_special: false,
            stacks: None,
            existing_sockets: 0,
            follows_command: false,
        }
    }
}
