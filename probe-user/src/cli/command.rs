//! A command to run, and the destination of the output.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// The command that is traced.
#[derive(Clone, Debug, Default, Args)]
pub struct CommandArgs {
    /// Run this command, and trace only it and its descendants.
    ///
    /// Ends when the command ends, with its exit code. Under sudo the command runs as the user who called sudo. twtrace
    /// then prints to standard error.
    #[arg(
        last = true,
        value_name = "COMMAND",
        conflicts_with = "duration",
        help_heading = "Command"
    )]
    pub command: Vec<OsString>,
}

/// Where the output goes.
#[derive(Clone, Debug, Default, Args)]
pub struct OutputArgs {
    /// Write to this file.
    ///
    /// It is left unchanged until there is something to write. Only its owner may read it (mode 0600), as it shows the
    /// processes of all users. An existing file must be your own, and not a symbolic link.
    #[arg(long, value_name = "FILE", help_heading = super::OUTPUT)]
    pub output: Option<PathBuf>,
    /// Don't cut lines to the width of the terminal.
    ///
    /// Files and pipes always get whole lines.
    #[arg(long, conflicts_with = "json", help_heading = super::OUTPUT)]
    pub wide: bool,
}
