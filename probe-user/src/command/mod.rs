//! The verbs of the command line.

mod definition;
pub mod doctor;
mod existing;
mod measure;
pub mod probes;
pub mod report;
pub mod trace;

use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result};

use crate::cli::Command;
use crate::scan::gate::Gate;

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
            Command::Trace(args) => trace::run(args).await?,
            Command::Report(args) => report::run(args).await?,
            Command::Doctor(args) => return doctor::run(args).await,
            Command::Probes(args) => probes::run(&args)?,
            Command::Completions(args) => definition::completions(&args)?,
            Command::Schema(args) => definition::schema(&args)?,
            Command::Man(args) => definition::man(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    })
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
fn open_gate() -> Option<Rc<Gate>> {
    Gate::open()
        .inspect_err(|error| log::warn!("other network namespaces can't be entered: {error}"))
        .ok()
        .map(Rc::new)
}

/// Gives up privileges; where that fails, says so and goes on.
fn drop_privileges() {
    told(crate::privilege::drop_unneeded());
}

/// The same where a file is still to be written.
fn drop_privileges_but_writing() {
    told(crate::privilege::drop_all_but_writing());
}

fn told(dropped: io::Result<()>) {
    if let Err(error) = dropped {
        log::warn!("can't drop capabilities: {error}");
    }
}
