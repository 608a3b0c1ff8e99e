//! The command line.

mod command;
mod explain;
mod filter;
mod filter_words;
mod mistakes;
pub mod probing;
mod recording;
mod serve;
mod stacks;
mod values;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, ArgGroup, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub use command::{CommandArgs, OutputArgs};
pub use explain::ExplainArgs;
pub use filter::FilterArgs;
pub use probing::ProbeArgs;
pub use recording::{BoundsArgs, FromArgs, KeepArgs, RecordArgs, StoreArgs};
pub use serve::{Findings, HistoryArgs, Privileges, ServeArgs};
pub use stacks::StackArgs;

use crate::output::csv_table::TableFormat;
use crate::output::table::{Grouping, SortBy};
use crate::output::tui::terminal;
use crate::schema::OutputKind;
pub use filter_words::{display_filter, filter_words};
use twtrace_core::doctor::finding::Severity;
use twtrace_core::doctor::what_if::supposed::{Change, Supposed};

/// Headings of options in help, beside those of the groups of options.
const SPAN: &str = "Duration";
const OUTPUT: &str = "Output";
const TABLES: &str = "Tables";

/// Who creates TIME_WAIT sockets, who resets connections, who waits for local ports: by process.
#[derive(Debug, Parser)]
#[command(name = "twtrace", version)]
pub struct Cli {
    /// What to do; if not given `top` on a terminal, else `trace`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Log more of what twtrace does to stderr (-vv: everything).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show processes, destinations, ports, events and findings live, full-screen.
    Top(TopArgs),
    /// Print events as they happen, one per line.
    Trace(ViewArgs),
    /// Record events and all that reports need in a file, for --from.
    Record(RecordArgs),
    /// Count for a while, then print who creates TIME_WAITs and RSTs, and why.
    Report(ReportArgs),
    /// Count for a while, then print findings, what to do and what not to do.
    ///
    /// Changes nothing. `twtrace explain ID` explains a finding.
    Doctor(DoctorArgs),
    /// Run as a service: metrics for Prometheus, and a history.
    Serve(Box<ServeArgs>),
    /// Print the hooks that this kernel allows, and what they miss.
    Probes(ProbesArgs),
    /// Explain a word of the output: what it means, why it happens, what to do.
    Explain(ExplainArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Print the JSON Schema of what `--json` prints.
    Schema(SchemaArgs),
    /// Print a manual page.
    ///
    /// Read it with `twtrace man report | man -l -`, or write it to a file of man1.
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
    /// Output that the schema describes: a line of trace, or a document.
    #[arg(value_enum, default_value_t = OutputKind::Event)]
    pub of: OutputKind,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Verb that the page is about; the main page if not given.
    pub verb: Option<String>,
}

impl Command {
    /// The command that it runs; empty for none.
    pub fn runs(&self) -> &[OsString] {
        match self {
            Self::Trace(view) | Self::Report(ReportArgs { view, .. }) => &view.command.command,
            Self::Record(args) => &args.command.command,
            Self::Doctor(args) => &args.command.command,
            Self::Top(_)
            | Self::Schema(_)
            | Self::Serve(_)
            | Self::Probes(_)
            | Self::Explain(_)
            | Self::Completions(_)
            | Self::Man(_) => &[],
        }
    }
}

impl Cli {
    /// Parses the command line of this process; prints errors and help, and ends then.
    pub fn of_process() -> Self {
        match Self::try_parse() {
            Ok(cli) => cli.checked().unwrap_or_else(|error| error.exit()),
            Err(error) => mistakes::corrected(error, &Self::command()).exit(),
        }
    }

    /// What clap can't express by itself.
    fn checked(self) -> Result<Self, clap::Error> {
        match &self.command {
            Some(Command::Doctor(args)) => match Supposed::of(&args.what_if) {
                Ok(_) => Ok(self),
                Err(error) => Err(Self::command()
                    .error(ErrorKind::ArgumentConflict, format!("--what-if: {error}"))),
            },
            Some(Command::Report(args)) if args.format.is_some() && args.by.len() != 1 => {
                Err(Self::command().error(
                    ErrorKind::TooManyValues,
                    "--format csv prints one table: choose one by --by, such as --by process",
                ))
            }
            _ => Ok(self),
        }
    }

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
    /// Which events.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
    /// Of which recording.
    #[command(flatten)]
    pub from: FromArgs,
    /// Of which history.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Print only these tables (repeatable, comma-separated).
    ///
    /// JSON always has everything.
    #[arg(long, value_name = "TABLE", value_enum, value_delimiter = ',', help_heading = TABLES)]
    pub by: Vec<Grouping>,
    /// Print every table.
    ///
    /// The overview, then single processes, ends and reuse of TIME_WAIT, destinations, port pools, memory, and the
    /// comparison with the kernel's counters.
    #[arg(long, conflicts_with = "by", help_heading = TABLES)]
    pub details: bool,
    /// Show up to N rows of each table.
    ///
    /// Of the tables of the overview, and of those of processes, commands, units, containers, pods, pairs, destinations and
    /// port pools.
    #[arg(long, value_name = "N", value_parser = values::rows, help_heading = TABLES)]
    pub top: Option<NonZeroUsize>,
    /// Sort tables by this figure.
    ///
    /// Those of processes, commands, units, containers, pods, pairs and destinations.
    #[arg(long, value_name = "FIGURE", value_enum, requires = "by", help_heading = TABLES)]
    pub sort: Option<SortBy>,
    /// Print one table in this format: csv.
    ///
    /// The table is that of --by. It has all rows, or those of --top, and names of columns that stay the same.
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = TABLES, conflicts_with_all = ["json", "details", "diff"])]
    pub format: Option<TableFormat>,
    /// Compare two recordings, or with --store two spans of the history.
    ///
    /// Shows who creates more TIME_WAIT sockets and RSTs, and who fewer, as rates, by command and destination. A span is
    /// written as SINCE..UNTIL, such as 25h..24h; either end may be missing.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], help_heading = TABLES, conflicts_with_all = [
        "by", "details", "html", "folded", "stacks", "record", "from", "since", "until", "duration", "command",
    ])]
    pub diff: Vec<OsString>,
    /// Redraw the overview on the terminal until the end (default 2s).
    ///
    /// With the totals since the start; at the end, the report is printed as usual. --by redraws tables.
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "2s",
          value_parser = values::interval, help_heading = OUTPUT,
          conflicts_with_all = ["json", "format", "details", "diff", "past", "command"])]
    pub watch: Option<Duration>,
    /// As `trace` has them.
    #[command(flatten)]
    pub view: ViewArgs,
    /// A recording beside it.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Also write a self-contained HTML page with timeline and findings.
    ///
    /// It has no script and fetches nothing. Replaces FILE, which only its owner may read.
    #[arg(long, value_name = "FILE", value_parser = values::file, help_heading = OUTPUT)]
    pub html: Option<PathBuf>,
    /// Where in the code.
    #[command(flatten)]
    pub stacks: StackArgs,
    /// Of which history.
    #[command(flatten)]
    pub store: StoreArgs,
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
#[command(group(ArgGroup::new("examined").args(["command", "from"])))]
pub struct DoctorArgs {
    /// Count for this long, such as 10s or 5m.
    ///
    /// Ctrl-C ends it early.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::span, allow_hyphen_values = true,
          conflicts_with = "past", help_heading = SPAN)]
    pub duration: Duration,
    /// Print one JSON document.
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Print a shell script for recommended settings.
    ///
    /// Settings that findings recommend and that do no harm. Nothing is run: read it first. The script can be run again, and
    /// undoes its changes (`sh FILE undo`).
    #[arg(long, help_heading = OUTPUT, conflicts_with_all = ["json", "command"])]
    pub fix_script: bool,
    /// Forecast the port pools with this setting or load.
    ///
    /// Repeatable, or separated by commas. tcp_tw_reuse=0|1|2, range=LOW-HIGH (ip_local_port_range), tcp_tw_timeout=SECONDS;
    /// keepalive=0.9 if 9 of 10 connections would not be opened, destinations=2 if those to one address were spread over two.
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', help_heading = OUTPUT, conflicts_with = "fix_script")]
    pub what_if: Vec<Change>,
    /// Exit with code 3 on a finding of this level or a worse one.
    ///
    /// With COMMAND, only if the command succeeds: else its exit code stands.
    #[arg(long, value_name = "LEVEL", value_enum, help_heading = OUTPUT)]
    pub fail_on: Option<Severity>,
    /// What to judge by.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
    /// Of which command.
    #[command(flatten)]
    pub command: CommandArgs,
    /// Of which recording.
    #[command(flatten)]
    pub from: FromArgs,
    /// Of which history.
    #[command(flatten)]
    pub store: StoreArgs,
    /// A recording beside it.
    #[command(flatten)]
    pub keep: KeepArgs,
}

/// Options of `probes`.
#[derive(Debug, Args)]
pub struct ProbesArgs {
    /// Print one JSON document.
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// How to probe.
    #[command(flatten)]
    pub probing: ProbeArgs,
}

/// How long, and in which form.
#[derive(Clone, Debug, Args)]
pub struct SpanArgs {
    /// End after this long, such as 10s or 5m; else with Ctrl-C.
    #[arg(long, value_name = "TIME", value_parser = values::span, allow_hyphen_values = true, conflicts_with = "past",
          help_heading = SPAN)]
    pub duration: Option<Duration>,
    /// Print JSON: an object per line (trace), a document (report).
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
