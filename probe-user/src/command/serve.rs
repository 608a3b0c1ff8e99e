//! `twtrace serve`
use crate::cli::ServeArgs;
use anyhow::Result;
use std::process::ExitCode;
/// x
pub async fn run(args: ServeArgs) -> Result<ExitCode> {
    let _ = args;
    Ok(ExitCode::SUCCESS)
}
