//! Which processes create TIME_WAIT sockets, reset connections, and wait for local ports.
//!
//! The program is a library with one entry point, so that the code that reads untrusted bytes can be fuzzed.

mod allocator;
mod attempts;
mod caller;
mod cli;
mod clock;
mod command;
mod confine;
mod enrich;
mod host;
#[cfg(test)]
mod kernel_side_tests;
#[cfg(test)]
mod layer_tests;
mod output;
#[doc(hidden)]
pub mod path;
mod place;
mod privilege;
mod probe;
mod record;
mod scan;
mod schema;
mod serve;
mod session;
mod stack;
mod store;
mod system_calls;
#[cfg(test)]
mod words_read_tests;
#[cfg(test)]
mod words_tests;

use std::io::{self, Write};
use std::process::ExitCode;

/// Runs the program with its eBPF object: parses the command line, runs the verb, prints errors.
pub fn main(object: &'static [u8]) -> ExitCode {
    allocator::prepare();
    probe::provide_object(object);
    let cli = cli::Cli::of_process();
    start_log(cli.verbose);
    let command = match cli.into_command() {
        Ok(command) => command,
        Err(usage) => usage.exit(),
    };
    let runs_command = !command.runs().is_empty();
    match command::run(command) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody reads stderr either, the exit code shows the error.
            let _ = writeln!(io::stderr(), "twtrace: {error:#}");
            command::exit_code_of(&error, runs_command)
        }
    }
}

/// Reads a recording from memory to its end, or to the first error; returns the number of entries. Used only by fuzz
/// targets and tests.
#[doc(hidden)]
pub fn read_recording(file: &[u8]) -> usize {
    let source = Box::new(io::Cursor::new(file.to_vec()));
    let Ok(reader) = record::reader::RecordingReader::new("fuzzed".into(), source) else {
        return 0;
    };
    let mut recordings = record::merge::Recordings::of(vec![reader], Default::default());
    let mut entries = 0;
    while recordings.next().is_some() {
        entries += 1;
    }
    for error in recordings.into_errors() {
        // The message also contains data of the file.
        let _ = error.to_string();
    }
    entries
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .target(env_logger::Target::Pipe(Box::new(
            output::log_lines::LogLines,
        )))
        .format(|line, record| writeln!(line, "twtrace: {}", record.args()))
        .init();
}

/// The reader of our output closed it, which is how `head` ends a pipeline.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
