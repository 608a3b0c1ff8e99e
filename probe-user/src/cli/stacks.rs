//! Options about user stacks.

use std::path::PathBuf;

use clap::Args;

/// Where in the code.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Stacks")]
pub struct StackArgs {
    /// Count user stacks of close() and of port allocations.
    ///
    /// Of the close() behind TIME_WAITs and RSTs sent, and of port allocations that fail or are slow. They are counted in the
    /// kernel by process, so they can't be filtered by address, side or namespace.
    #[arg(long, conflicts_with_all = ["local", "remote", "netns", "side"])]
    pub stacks: bool,
    /// Also write the stacks for flame graphs (implies --stacks).
    ///
    /// One per line, as flamegraph.pl and inferno read them, by command; --by process, unit, container or pod
    /// separates these.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["local", "remote", "netns", "side"])]
    pub folded: Option<PathBuf>,
    /// Keep up to N different stacks.
    #[arg(long, value_name = "N", default_value_t = 4_096,
          value_parser = clap::value_parser!(u32).range(1..=262_144))]
    pub max_stacks: u32,
}

impl StackArgs {
    /// Maximum number of different stacks; `None` if stacks are not requested.
    pub fn wanted(&self) -> Option<u32> {
        (self.stacks || self.folded.is_some()).then_some(self.max_stacks)
    }
}
