//! The verbs of the command line.

mod definition;
mod difference;
pub mod doctor;
mod explain;
mod keep;
pub mod man;
mod offline;
pub mod probes;
pub mod record;
pub mod report;
pub mod serve;
mod source;
mod start_line;
mod terminal_signals;
pub mod top;
pub mod trace;
mod trace_replay;

use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result};
use twtrace_core::hooks::Choice;

use crate::attempts::Attempts;
use crate::cli::Command;
use crate::output::tiers;
use crate::place;
use crate::privilege::Keep;
use crate::scan::namespace_helper::NamespaceHelper;
use crate::serve::settings::SettingsError;
use crate::session::launch::{self, LaunchError};
use crate::system_calls::{self, Extent, Work};

/// Runs a verb, and returns the exit code of the process.
///
/// # Errors
/// What failed and, where that helps, what to do.
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
            Command::Explain(args) => explain::run(&args)?,
            Command::Completions(args) => definition::completions(&args)?,
            Command::Schema(args) => definition::schema(&args)?,
            Command::Man(args) => man::run(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The exit code of a wrong command line.
const WRONG_USE: u8 = 2;

/// The exit code after an error; if a command was to be run, the code of `env`.
pub fn exit_code_of(error: &anyhow::Error, runs_command: bool) -> ExitCode {
    if error.is::<SettingsError>() || error.is::<explain::UnknownId>() {
        return ExitCode::from(WRONG_USE);
    }
    match error.downcast_ref::<LaunchError>() {
        Some(error) => ExitCode::from(error.exit_code()),
        None if runs_command => ExitCode::from(launch::FAILED),
        None => ExitCode::FAILURE,
    }
}

/// Prints a message that is not part of the output. It is no error if nobody reads it.
fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "twtrace: {text}");
}

/// Says how many capabilities use degraded hooks, and with -v what these miss.
fn say_degraded(tiers: &[Choice]) {
    let losses = tiers::losses(tiers);
    match losses.lines().count() {
        0 => {}
        count => notice(&format!(
            "{count} of {} capabilities use degraded hooks (twtrace probes)",
            tiers.len()
        )),
    }
    for loss in losses.lines() {
        log::info!("{loss}");
    }
}

/// Prints a whole document.
fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}

/// Opens the access to other network namespaces. To be called while there are privileges to keep, and no other
/// threads.
fn open_namespace_helper() -> Option<Rc<NamespaceHelper>> {
    NamespaceHelper::open()
        .inspect_err(|error| log::warn!("other network namespaces can't be entered: {error}"))
        .ok()
        .map(Rc::new)
}

/// Drops privileges and the system calls that tracing does not need; if that fails, reports it and continues. To be called when
/// all outputs are open, and the command was started, if there is one.
fn drop_privileges(keep: Keep, extent: Extent, has_command: bool) {
    let attempts = Attempts::of("tracer");
    warn_on_failure(crate::privilege::drop_all_but(keep));
    let work = Work::Trace {
        writes_files: place::writes_files(),
        has_command,
    };
    system_calls::warn_on_failure(system_calls::restrict_to(work, extent));
    attempts.run();
}

fn warn_on_failure(dropped: io::Result<()>) {
    if let Err(error) = dropped {
        log::warn!("can't drop capabilities: {error}");
    }
}
