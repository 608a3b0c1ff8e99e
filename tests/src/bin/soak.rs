//! Soaks `twtrace serve`, and prints the resources it used.

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
