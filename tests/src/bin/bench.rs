//! Measures the cost of tracing.

use std::process::ExitCode;

use clap::Parser;
use twtrace_tests::bench::{self, Cli};

fn main() -> ExitCode {
    match bench::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
