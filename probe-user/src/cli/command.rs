//! A command to run, and the destination of the output.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// The command that is traced.
#[derive(Clone, Debug, Default, Args)]
pub struct CommandArgs {
    /// Run this command, trace it and its descendants only, and end when it ends, with its exit code; under sudo it
    /// runs as the user who called it. What twtrace prints goes to standard error then.
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "duration")]
    pub command: Vec<OsString>,
}

/// Where the output goes.
#[derive(Clone, Debug, Default, Args)]
pub struct OutputArgs {
    /// Write to this file; it is left as it was until there is something to write.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
