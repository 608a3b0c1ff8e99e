//! `cargo xtask run`: setup, build, then replaces xtask by twtrace.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    build::{self, Parts, Profile},
    process::{find_program, is_root},
    workspace::Workspace,
};

/// Options of `cargo xtask run`.
#[derive(Args)]
pub struct RunArgs {
    /// Run what users get, fully optimised: takes longer to build
    #[arg(long)]
    release: bool,
    /// Arguments of twtrace
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// Executes twtrace in place of this process, so that its exit code and its signals are its own.
///
/// # Errors
/// If the build fails, or this is not root and there is no sudo.
pub fn verb(workspace: &Workspace, args: &RunArgs) -> Result<ExitCode> {
    let profile = Profile::of(args.release);
    let binaries = build::everything(workspace, profile, Parts::Program)?;
    let mut command = as_root(&binaries.twtrace())?;
    let error = command.args(&args.args).exec();
    Err(error).with_context(|| format!("can't run {}", crate::process::line_of(&command)))
}

/// A command that runs a program as root: directly, or with sudo.
///
/// # Errors
/// If this is not root, and there is no sudo.
pub fn as_root(program: &Path) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let sudo = find_program("sudo").with_context(|| {
        format!(
            "twtrace needs root and there is no sudo; as root run {}",
            program.display()
        )
    })?;
    let mut command = Command::new(sudo);
    command.arg("--").arg(program);
    Ok(command)
}
