//! The command line.

mod command;
mod filter_words;
mod recording;
mod serve;
mod stacks;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use twtrace_wire::{EventKind, Side};

pub use command::{CommandArgs, OutputArgs};
pub use recording::{BoundsArgs, FromArgs, KeepArgs, RecordArgs, StoreArgs};
pub use serve::{HistoryArgs, Privileges, ServeArgs};
pub use stacks::StackArgs;

use crate::enrich::netns_arg::{NetnsArg, NetnsError};
use crate::enrich::procfs::{self, PidError};
use crate::output::table::By;
use crate::output::tui::terminal;
use crate::probe::ProbeOptions;
use crate::schema::Kind;
pub use filter_words::{display_filter, filter_words};
use twtrace_core::doctor::finding::Severity;
use twtrace_core::event::words::Word;
use twtrace_core::filter::{AddressFilter, ContainerFilter, Filter, PodFilter, UnitFilter};
use twtrace_core::hooks::Hook;

/// Who creates TIME_WAIT sockets, who resets connections, who waits for local ports: by process.
#[derive(Debug, Parser)]
#[command(name = "twtrace", version, about)]
pub struct Cli {
    /// What to do; if not given `top` on a terminal, else `trace`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Tell more of what twtrace itself does, on stderr (twice: everything).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show it all live, full-screen: processes, destinations and their budgets, events, what is wrong.
    Top(TopArgs),
    /// Show events as they happen, one a line.
    Trace(ViewArgs),
    /// Keep events and all that reports need in a file, for `--from` of the other views.
    Record(RecordArgs),
    /// Count for a while, then print tables by process and by destination.
    Report(ReportArgs),
    /// Count for a while, then say what is wrong, what to do and what not to do. Changes nothing.
    Doctor(DoctorArgs),
    /// Trace for as long as it runs, as a service: metrics for Prometheus, and a history.
    Serve(Box<ServeArgs>),
    /// Show what this kernel allows: the hooks chosen for each question, and what is lost.
    Probes(ProbesArgs),
    /// Print a script that completes twtrace's command lines, for a shell to read.
    Completions(CompletionsArgs),
    /// Print the JSON Schema of what `--json` prints.
    Schema(SchemaArgs),
    /// Print a manual page, for `man -l -` or a file.
    Man(ManArgs),
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Options of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of a line of `trace`, or of the document of `report`, `doctor` or `probes`.
    #[arg(value_enum, default_value_t = Kind::Event)]
    pub of: Kind,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The verb that it is about; all in short if not given.
    pub verb: Option<String>,
}

impl Command {
    /// The command that it runs; empty where it runs none.
    pub fn runs(&self) -> &[OsString] {
        match self {
            Self::Trace(view) | Self::Report(ReportArgs { view, .. }) => &view.command.command,
            Self::Record(args) => &args.command.command,
            Self::Top(_)
            | Self::Schema(_)
            | Self::Doctor(_)
            | Self::Serve(_)
            | Self::Probes(_)
            | Self::Completions(_)
            | Self::Man(_) => &[],
        }
    }
}

impl Cli {
    /// The verb.
    ///
    /// # Errors
    /// When the environment holds what no option would take.
    pub fn into_command(self) -> Result<Command, clap::Error> {
        match self.command {
            Some(command) => Ok(command),
            None => Self::try_parse_from(["twtrace", default_verb()])?.into_command(),
        }
    }
}

fn default_verb() -> &'static str {
    match terminal::check() {
        Ok(()) => "top",
        Err(_) => "trace",
    }
}

/// Options of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Of which history.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Of which recording.
    #[command(flatten)]
    pub from: FromArgs,
    /// Which events.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Of which history.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print only this table (repeatable, or comma-separated); JSON always has everything.
    #[arg(long, value_name = "TABLE", value_enum, value_delimiter = ',')]
    pub by: Vec<By>,
    /// A recording beside it.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Also write everything, with a timeline and doctor's findings, as one page that stands alone: no script,
    /// no network. Replaces FILE, which only its owner may read.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Where in the code.
    #[command(flatten)]
    pub stacks: StackArgs,
    /// As `trace` has them.
    #[command(flatten)]
    pub view: ViewArgs,
}

/// Options of `trace` and `report`.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// How long, and in which form.
    #[command(flatten)]
    pub span: SpanArgs,
    /// Which events.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
    /// Where to.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Of which command.
    #[command(flatten)]
    pub command: CommandArgs,
    /// Of which recording.
    #[command(flatten)]
    pub from: FromArgs,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Of which history.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How long to look before judging, such as 10s or 5m; Ctrl-C ends it early.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration,
          conflicts_with = "past")]
    pub duration: Duration,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Exit with code 3 if there is a finding of this level, or of a worse one.
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub fail_on: Option<Severity>,
    /// A recording beside it.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// What to judge by.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
    /// Of which recording.
    #[command(flatten)]
    pub from: FromArgs,
}

/// Options of `probes`.
#[derive(Debug, Args)]
pub struct ProbesArgs {
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
}

/// How long, and in which form.
#[derive(Clone, Debug, Args)]
pub struct SpanArgs {
    /// End after this long, such as 10s or 5m; else with Ctrl-C.
    #[arg(long, value_name = "TIME", value_parser = values::duration, conflicts_with = "past")]
    pub duration: Option<Duration>,
    /// Print JSON: one object a line (trace), one document (report).
    #[arg(long)]
    pub json: bool,
}

/// Which events. Each option may be repeated: any of its values will do, and all options must hold.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Process that is answerable, by its pid in the initial pid namespace.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,
    /// Process that is answerable, by its name.
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Container that the process runs in: its id or the first digits of it, or its name in LXC and systemd-nspawn.
    #[arg(long, value_name = "ID")]
    pub container: Vec<ContainerFilter>,
    /// Kubernetes pod that it runs in, by its UID.
    #[arg(long, value_name = "UID")]
    pub pod: Vec<PodFilter>,
    /// systemd unit or slice that it runs in, such as nginx, user@1000.service or 'my*.scope'.
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<UnitFilter>,
    /// This host's end: 10.0.0.1, 10.0.0.0/8, 10.0.0.1:80, [::1]:80, :443.
    #[arg(long, value_name = "ADDRESS")]
    pub local: Vec<AddressFilter>,
    /// The other end, likewise.
    #[arg(long, value_name = "ADDRESS")]
    pub remote: Vec<AddressFilter>,
    /// Network namespace: its inode number, its name in `ip netns`, or a path such as /proc/PID/ns/net.
    #[arg(long, value_name = "NETNS")]
    pub netns: Vec<NetnsArg>,
    /// Which end this host's socket is.
    #[arg(long, value_parser = words::<Side>())]
    pub side: Vec<Side>,
    /// Kind of event.
    #[arg(long, value_parser = words::<EventKind>())]
    pub event: Vec<EventKind>,
}

/// A filter that asks for what is not there.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// `--pid`
    #[error("--pid")]
    Pid(#[from] PidError),
    /// `--netns`
    #[error("--netns")]
    Netns(#[from] NetnsError),
    /// `--netns` with a name or path, for a recording.
    #[error(
        "--netns {0}: in a recording namespaces are told by inode number; its report lists those with names"
    )]
    NetnsPath(String),
}

impl FilterArgs {
    /// Looks at the host: do the processes and namespaces exist?
    ///
    /// # Errors
    /// When one does not.
    pub fn resolve(&self) -> Result<Filter, FilterError> {
        self.pid
            .iter()
            .try_for_each(|pid| procfs::check_pid(*pid))?;
        self.unchecked()
    }

    /// The same for what was told already: its processes may be gone.
    ///
    /// # Errors
    /// When a path stands for no namespace.
    pub fn unchecked(&self) -> Result<Filter, FilterError> {
        let netns = self.netns.iter().map(NetnsArg::inode);
        Ok(self.filter(netns.collect::<Result<_, _>>()?))
    }

    /// For a recording, which may be of another host.
    ///
    /// # Errors
    /// When it asks for a path of this one.
    pub fn resolve_for_recording(&self) -> Result<Filter, FilterError> {
        let netns = self.netns.iter().map(|netns| match netns {
            NetnsArg::Inode(inode) => Ok(*inode),
            NetnsArg::Path(path) => Err(FilterError::NetnsPath(path.display().to_string())),
            NetnsArg::Name(name) => Err(FilterError::NetnsPath(name.clone())),
        });
        Ok(self.filter(netns.collect::<Result<_, _>>()?))
    }

    fn filter(&self, netns: Vec<u32>) -> Filter {
        Filter {
            pids: self.pid.clone(),
            comms: self.comm.clone(),
            containers: self.container.clone(),
            pods: self.pod.clone(),
            units: self.unit.clone(),
            local: self.local.clone(),
            remote: self.remote.clone(),
            netns,
            sides: self.side.clone(),
            kinds: self.event.clone(),
            family: None,
            recorded: None,
        }
    }
}

/// How to probe.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Probing")]
pub struct ProbeArgs {
    /// Do without this kind of hook, even where the kernel has it (repeatable, or comma-separated).
    #[arg(
        long,
        value_name = "HOOK",
        env = "TWTRACE_WITHOUT",
        value_enum,
        value_delimiter = ','
    )]
    pub without: Vec<Hook>,
    /// Whether to use the kernel's timer tracepoints, which cost a little for every timer of the host.
    #[arg(long, value_name = "ON|OFF", value_enum, default_value_t = Switch::On)]
    pub timers: Switch,
    /// BTF file in place of /sys/kernel/btf/vmlinux.
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Sockets followed at a time.
    #[arg(long, value_name = "N", default_value_t = 131_072,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_sockets: u32,
    /// Processes counted.
    #[arg(long, value_name = "N", default_value_t = 16_384,
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_processes: u32,
    /// Size of the ring buffer in MiB, a power of two.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = values::power_of_two(1, 1_024),
          conflicts_with = "ring_kb")]
    pub ring_mb: u32,
    /// Size of the ring buffer in KiB, a power of two.
    #[arg(long, value_name = "N", value_parser = values::power_of_two(4, 1_048_576))]
    pub ring_kb: Option<u32>,
    /// Port searches that take at least this long are events of their own; 0: all of them.
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
    /// As the loader takes them.
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

/// Parses one of a set's words.
fn words<T: Word + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::MEMBERS.iter().map(|member| member.word()))
        .try_map(|word| T::from_word(&word).ok_or("not one of the possible values"))
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
