//! The binary `twtrace`.

use std::process::ExitCode;

fn main() -> ExitCode {
    twtrace::main()
}
