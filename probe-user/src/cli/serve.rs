//! Options of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values;
use super::{FilterArgs, ProbeArgs};

/// Options of `serve`. Each may stand in the configuration file under its long name.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Serve metrics on this address and port.
    ///
    /// Paths: /metrics, and /healthz and /readyz for probes. Anyone who can reach it can read the names of this host's
    /// processes.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "TWTRACE_LISTEN",
        default_value = "127.0.0.1:10660",
        value_parser = values::listen
    )]
    pub listen: SocketAddr,
    /// Also answer requests to this name of the host.
    ///
    /// Repeatable. Requests to localhost and to addresses are always answered. Others are refused, so that no page in a
    /// browser can read the metrics through a name of its own (DNS rebinding).
    #[arg(
        long,
        value_name = "NAME",
        env = "TWTRACE_ALLOWED_HOSTS",
        value_delimiter = ',',
        value_parser = values::host_name
    )]
    pub allowed_hosts: Vec<String>,
    /// Also read options from this file (TOML).
    ///
    /// Options have the same names there. The command line comes before the environment, and that before the file.
    /// SIGHUP reads it again.
    #[arg(long, value_name = "FILE", env = "TWTRACE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Check the configuration, print it, and exit.
    #[arg(long)]
    pub check_config: bool,
    /// Export up to N processes; the others are one.
    ///
    /// Processes are those of one name and unit or container.
    #[arg(long, value_name = "N", env = "TWTRACE_TOP_PROCESSES", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub top_processes: u32,
    /// Export up to N destinations, and as many pairs; the others are one.
    #[arg(long, value_name = "N", env = "TWTRACE_TOP_DESTINATIONS", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub top_destinations: u32,
    /// Keep these privileges once the probes are attached.
    #[arg(long, value_name = "MODE", env = "TWTRACE_PRIVILEGES", value_enum,
          default_value_t = Privileges::Naming)]
    pub privileges: Privileges,
    /// Export the findings of doctor, by id and severity.
    ///
    /// They are those of the last interval: of the history's, or else of 10 s. The interval is kept in memory.
    #[arg(long, value_name = "WHETHER", env = "TWTRACE_FINDINGS", value_enum, default_value_t = Findings::On)]
    pub findings: Findings,
    /// What is remembered.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// Which events.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
}

/// Whether findings are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Findings {
    /// Each interval is diagnosed.
    On,
    /// None is, unless there is a history.
    Off,
}

/// What is kept when probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Privileges {
    /// Keep the capabilities to name other users' processes and to read other network namespaces.
    Naming,
    /// Keep nothing: executables of other users have no names, and of other network namespaces only what events
    /// report is known.
    Least,
}

/// What is remembered, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "History")]
pub struct HistoryArgs {
    /// Write a history to this directory, for --store.
    #[arg(long = "history", value_name = "DIR", env = "TWTRACE_HISTORY")]
    pub directory: Option<PathBuf>,
    /// Sum up the history over this long.
    #[arg(long = "history-interval", value_name = "TIME", default_value = "60s",
          env = "TWTRACE_HISTORY_INTERVAL", value_parser = interval)]
    pub interval: Duration,
    /// Remove what is older.
    #[arg(long = "history-max-age", value_name = "TIME", default_value = "30d",
          env = "TWTRACE_HISTORY_MAX_AGE", value_parser = values::duration)]
    pub max_age: Duration,
    /// Remove the oldest beyond this size, such as 500M.
    #[arg(long = "history-max-size", value_name = "SIZE", default_value = "1GiB",
          env = "TWTRACE_HISTORY_MAX_SIZE", value_parser = values::size)]
    pub max_size: u64,
}

/// Shorter ones would be mostly overhead, longer ones too coarse to be useful.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = values::duration(text)?;
    if (1..=86_400).contains(&interval.as_secs()) {
        Ok(interval)
    } else {
        Err("not from 1s to 1d".to_owned())
    }
}
