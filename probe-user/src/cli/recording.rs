//! Options that write recordings, and those that read them.

use std::path::{Path, PathBuf};

use clap::Args;

use super::values;
use super::{CommandArgs, FilterArgs, ProbeArgs};
use crate::record::rotation::Bounds;
use crate::record::window::{Bound, Window};

/// Options of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Write to this file; - for standard output.
    #[arg(short, long, value_name = "FILE", help_heading = super::OUTPUT)]
    pub output: PathBuf,
    /// End after this long, such as 10s or 5m; else with Ctrl-C.
    #[arg(long, value_name = "TIME", value_parser = values::span, help_heading = super::SPAN)]
    pub duration: Option<std::time::Duration>,
    /// How much is kept.
    #[command(flatten)]
    pub bounds: BoundsArgs,
    /// Which events.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
    /// Of which command.
    #[command(flatten)]
    pub command: CommandArgs,
}

/// How much of a recording is kept.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Recordings")]
pub struct BoundsArgs {
    /// Limit the recording's size, such as 500M or 2GiB.
    ///
    /// It is written in parts, of which the oldest is removed.
    #[arg(long, value_name = "SIZE", value_parser = values::size_of_files)]
    pub max_size: Option<u64>,
    /// Keep N parts with --max-size: FILE, FILE.1 and so on.
    #[arg(long, value_name = "N", default_value_t = 4, requires = "max_size",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub keep: u32,
    /// Overwrite an existing recording.
    #[arg(long)]
    pub force: bool,
}

impl BoundsArgs {
    /// As options of the writer.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            max_bytes: self.max_size,
            keep: self.keep,
        }
    }
}

/// A recording beside another view.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Recordings")]
pub struct KeepArgs {
    /// Also write a recording, for --from.
    #[arg(long, value_name = "FILE", conflicts_with = "past")]
    pub record: Option<PathBuf>,
    /// How much of it.
    #[command(flatten)]
    pub bounds: BoundsArgs,
}

impl KeepArgs {
    /// The file, and its limits; `None` if no recording is requested.
    pub fn order(&self) -> Option<(&Path, &BoundsArgs)> {
        Some((self.record.as_deref()?, &self.bounds))
    }
}

/// Options of the probes, which do not apply to past data.
const PROBING: [&str; 7] = [
    "timers",
    "btf",
    "max_sockets",
    "max_processes",
    "ring_mb",
    "ring_kb",
    "slow_port",
];

/// Recordings in place of this host.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Recordings")]
pub struct FromArgs {
    /// Read this recording (repeatable); - for standard input.
    ///
    /// Parts, and recordings of several hosts, are put in order. Needs no privileges.
    #[arg(
        long,
        value_name = "FILE",
        group = "past",
        conflicts_with_all = PROBING
    )]
    pub from: Vec<PathBuf>,
    /// Show only events at or after WHEN.
    ///
    /// WHEN: 2026-11-25T03:00:00Z, "2026-11-25 03:00", 03:00, 2h ago, or +10m after the start. Without a zone it is UTC
    /// for a recording, and this host's for a history.
    #[arg(long, value_name = "WHEN", requires = "past")]
    pub since: Option<Bound>,
    /// Show only events before WHEN.
    ///
    /// WHEN has the same forms as for --since.
    #[arg(long, value_name = "WHEN", requires = "past")]
    pub until: Option<Bound>,
}

impl FromArgs {
    /// Whether a recording is read.
    pub fn is_given(&self) -> bool {
        !self.from.is_empty()
    }

    /// The selected time of it.
    pub fn window(&self) -> Window {
        Window {
            since: self.since,
            until: self.until,
        }
    }
}

/// A history in place of this host.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Recordings")]
pub struct StoreArgs {
    /// Read this history of `serve`.
    ///
    /// `serve --history DIR` may be writing it at the same time. Needs no privileges but to read it.
    #[arg(
        long,
        value_name = "DIR",
        group = "past",
        conflicts_with_all = PROBING
    )]
    pub store: Option<PathBuf>,
}
