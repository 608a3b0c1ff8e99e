//! The scenario runner: plays TCP traffic whose truth is known and compares it with what twtrace reports.

use std::process::ExitCode;

use clap::Parser;
use twtrace_tests::runner::{self, Options};

fn main() -> ExitCode {
    match runner::run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scenarios: {error:#}");
            ExitCode::FAILURE
        }
    }
}
