//! The verbs of the command line.

mod definition;
pub mod doctor;
mod keep;
pub mod probes;
pub mod record;
pub mod report;
pub mod serve;
mod source;
mod start_line;
pub mod top;
pub mod trace;
mod trace_replay;

use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result};

use crate::cli::Command;
use crate::privilege::Keep;
use crate::scan::namespace_helper::NamespaceHelper;
use crate::serve::settings::SettingsError;
use crate::session::launch::{self, LaunchError};

/// Does what was asked, and says how the process is to end.
///
/// # Errors
/// With what went wrong and, where that helps, what to do.
pub fn run(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the event loop")?;
    runtime.block_on(async {
        match command {
            Command::Trace(args) => return trace::run(args).await,
            Command::Record(args) => return record::run(args).await,
            Command::Report(args) => return report::run(args).await,
            Command::Top(args) => top::run(args).await?,
            Command::Doctor(args) => return doctor::run(args).await,
            Command::Serve(args) => return serve::run(*args).await,
            Command::Probes(args) => probes::run(&args)?,
            Command::Completions(args) => definition::completions(&args)?,
            Command::Schema(args) => definition::schema(&args)?,
            Command::Man(args) => definition::man(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// As after a wrong command line.
const WRONG_USE: u8 = 2;

/// How the process ends after an error; where it was to run a command, as `env` does.
pub fn exit_code_of(error: &anyhow::Error, runs_command: bool) -> ExitCode {
    if error.is::<SettingsError>() {
        return ExitCode::from(WRONG_USE);
    }
    match error.downcast_ref::<LaunchError>() {
        Some(error) => ExitCode::from(error.exit_code()),
        None if runs_command => ExitCode::from(launch::FAILED),
        None => ExitCode::FAILURE,
    }
}

/// Says something that is not part of the output. That nobody may listen is no error.
fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "twtrace: {text}");
}

/// Prints a whole document.
fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}

/// The way into other network namespaces. To be called while there are privileges to keep, and no other
/// threads.
fn open_gate() -> Option<Rc<NamespaceHelper>> {
    NamespaceHelper::open()
        .inspect_err(|error| log::warn!("other network namespaces can't be entered: {error}"))
        .ok()
        .map(Rc::new)
}

/// Gives up privileges; where that fails, says so and goes on.
fn drop_privileges(keep: Keep) {
    told(crate::privilege::drop_all_but(keep));
}

fn told(dropped: io::Result<()>) {
    if let Err(error) = dropped {
        log::warn!("can't drop capabilities: {error}");
    }
}
