//! The command line.

mod command;
mod explain;
mod filter;
mod filter_words;
pub mod probing;
mod recording;
mod serve;
mod stacks;
mod values;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;

pub use command::{CommandArgs, OutputArgs};
pub use explain::ExplainArgs;
pub use filter::FilterArgs;
pub use probing::ProbeArgs;
pub use recording::{BoundsArgs, FromArgs, KeepArgs, RecordArgs, StoreArgs};
pub use serve::{HistoryArgs, Privileges, ServeArgs};
pub use stacks::StackArgs;

use crate::output::table::{Grouping, SortBy};
use crate::output::tui::terminal;
use crate::schema::OutputKind;
pub use filter_words::{display_filter, filter_words};
use twtrace_core::doctor::finding::Severity;

/// Who creates TIME_WAIT sockets, who resets connections, who waits for local ports: by process.
#[derive(Debug, Parser)]
#[command(name = "twtrace", version)]
pub struct Cli {
    /// What to do; if not given `top` on a terminal, else `trace`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Log what twtrace itself does, on stderr (twice: everything).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show everything live, full-screen: commands, destinations and port pools, events, findings.
    Top(TopArgs),
    /// Show events as they happen, one a line.
    Trace(ViewArgs),
    /// Record events and everything that reports need in a file, for --from of the other commands.
    Record(RecordArgs),
    /// Count for a while, then print tables by process and by destination.
    Report(ReportArgs),
    /// Count for a while, then list findings: what to do and what not to do. Changes nothing.
    Doctor(DoctorArgs),
    /// Trace for as long as it runs, as a service: metrics for Prometheus, and a history.
    Serve(Box<ServeArgs>),
    /// Show what this kernel allows: the hooks used for each capability, and what they miss.
    Probes(ProbesArgs),
    /// Explain a word of the output: what it means, why it happens, what to do.
    Explain(ExplainArgs),
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
    #[arg(value_enum, default_value_t = OutputKind::Event)]
    pub of: OutputKind,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The verb that it is about; all in short if not given.
    pub verb: Option<String>,
}

impl Command {
    /// The command that it runs; empty for none.
    pub fn runs(&self) -> &[OsString] {
        match self {
            Self::Trace(view) | Self::Report(ReportArgs { view, .. }) => &view.command.command,
            Self::Record(args) => &args.command.command,
            Self::Top(_)
            | Self::Schema(_)
            | Self::Doctor(_)
            | Self::Serve(_)
            | Self::Probes(_)
            | Self::Explain(_)
            | Self::Completions(_)
            | Self::Man(_) => &[],
        }
    }
}

impl Cli {
    /// The verb.
    ///
    /// # Errors
    /// If the environment contains a value that no option accepts.
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
    /// Print only these tables (repeatable, or comma-separated). JSON always has everything.
    #[arg(long, value_name = "TABLE", value_enum, value_delimiter = ',')]
    pub by: Vec<Grouping>,
    /// Print every table: the overview, then single processes, ends and reuse of TIME_WAIT, destinations, port pools,
    /// memory, and the comparison with the kernel's counters.
    #[arg(long, conflicts_with = "by")]
    pub details: bool,
    /// Show up to N rows of each table of the overview, and of commands, units, containers, pods and pairs.
    #[arg(long, value_name = "N")]
    pub top: Option<NonZeroUsize>,
    /// Sort the tables of commands, units, containers, pods and pairs by this figure.
    #[arg(long, value_name = "FIGURE", value_enum, requires = "by")]
    pub sort: Option<SortBy>,
    /// Compare two recordings: who creates more TIME_WAIT sockets and RSTs, who fewer. With --store, compare two spans of
    /// the history, written as SINCE..UNTIL, such as 25h..24h.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = [
        "by", "details", "html", "folded", "stacks", "record", "from", "since", "until", "duration", "command",
    ])]
    pub diff: Vec<OsString>,
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
#[command(group(ArgGroup::new("traced").args(["command", "from"])))]
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
    /// Count for this long before the diagnosis, such as 10s or 5m; Ctrl-C ends it early.
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

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
