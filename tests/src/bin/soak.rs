//! Soaks `twtrace serve`, and prints what it took.

use std::process::ExitCode;

use clap::Parser;
use twtrace_tests::soak::{self, Options};

fn main() -> ExitCode {
    match soak::run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}
