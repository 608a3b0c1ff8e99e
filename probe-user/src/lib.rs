//! Who creates TIME_WAIT sockets, who resets connections, who waits for local ports: by process.
//!
//! The program is a library with one entry, so that what reads bytes of strangers can be fuzzed.

mod cli;
mod clock;
mod command;
mod doctor;
mod enrich;
mod event;
mod filter;
mod host;
mod model;
mod output;
mod privilege;
mod probe;
mod scan;
mod schema;
mod session;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// Runs the program: reads the command line, does what it says, prints errors.
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    start_log(cli.verbose);
    let command = match cli.into_command() {
        Ok(command) => command,
        Err(usage) => usage.exit(),
    };
    match command::run(command) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody listens on stderr either, the exit code says it.
            let _ = writeln!(io::stderr(), "twtrace: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .format(|line, record| writeln!(line, "twtrace: {}", record.args()))
        .init();
}

/// The reader of our output went away, which is how `head` ends a pipeline.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
