//! Runs a command and traces its processes only, as `perf stat` does.
//!
//! The command starts when everything else is ready, so that none of its connections is missed, and before privileges
//! are dropped for good, so that it may do what it could do without twtrace. Only the child of the fork is marked as
//! followed: twtrace removes itself from the kernel's map as soon as it has forked.

mod inherited;
mod invoker;
mod running;

use std::ffi::{OsStr, OsString};
use std::io;
use std::process;

use tokio::process::{Child, Command};

use self::inherited::Inherited;
use self::invoker::Invoker;
use super::Session;
use crate::probe::ProbeError;
pub use running::RunningCommand;

/// twtrace itself failed. These are the codes of `env`.
pub const FAILED: u8 = 125;
/// The command exists and can't be run.
const NOT_RUN: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;

/// Why a command was not run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// sudo's variables are not as sudo sets them.
    #[error(
        "{variable} is {value:?}, so the user to run the command as is not known: unset SUDO_UID to run it as root"
    )]
    Sudo {
        variable: &'static str,
        /// Empty if it is not set.
        value: OsString,
    },
    /// The command's processes can't be followed.
    #[error(transparent)]
    Follow(#[from] ProbeError),
    /// Signals can't be listened for.
    #[error("listening for signals: {0}")]
    Signals(io::Error),
    /// exec() fails.
    #[error("can't run {program:?}: {error}")]
    Exec {
        /// As given on the command line.
        program: OsString,
        error: io::Error,
    },
}

impl LaunchError {
    /// The exit code that `env` has for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Sudo { .. } | Self::Follow(_) | Self::Signals(_) => FAILED,
            Self::Exec { error, .. } if error.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            Self::Exec { .. } => NOT_RUN,
        }
    }
}

/// A command to run, and the user to run it as.
#[derive(Debug)]
pub struct Launch {
    program: OsString,
    arguments: Vec<OsString>,
    /// `None`: as this process runs.
    user: Option<Invoker>,
    inherited: Inherited,
}

impl Launch {
    /// Takes a command line: the program and its arguments. `None` if it is empty. To be called before anything
    /// changes the signals and limits that the command inherits.
    ///
    /// # Errors
    /// If sudo's variables are not valid.
    pub fn prepare(line: &[OsString]) -> Result<Option<Self>, LaunchError> {
        let Some((program, arguments)) = line.split_first() else {
            return Ok(None);
        };
        Ok(Some(Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
            user: Invoker::of_sudo()?,
            inherited: Inherited::take(),
        }))
    }

    /// Whether twtrace was started with this signal ignored, as by `nohup`.
    fn ignores(&self, signal: libc::c_int) -> bool {
        self.inherited.ignores(signal)
    }

    fn command(&self) -> Command {
        let mut command = process::Command::new(&self.program);
        command.args(&self.arguments);
        let (inherited, user) = (self.inherited.clone(), self.user.clone());
        let restore = move || {
            // Limits first: the user may not be allowed to set them.
            inherited.restore()?;
            user.as_ref().map_or(Ok(()), Invoker::become_user)
        };
        // SAFETY: between fork and exec it makes system calls only, with memory that was set up before.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, restore) };
        Command::from(command)
    }
}

impl Session {
    /// Starts the command. Its processes are followed from the first moment on.
    ///
    /// # Errors
    /// If new processes can't be seen, or the command can't be run.
    fn launch(&mut self, launch: &Launch) -> Result<Child, LaunchError> {
        self.attached.follow_own_children(true)?;
        let spawned = launch.command().spawn();
        self.attached.follow_own_children(false)?;
        spawned.map_err(|error| LaunchError::Exec {
            program: launch.program.clone(),
            error,
        })
    }
}

/// The command line as text, for readers of a recording.
pub fn line(command: &[OsString]) -> Vec<String> {
    let text = |word: &OsString| OsStr::to_string_lossy(word).into_owned();
    command.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fails_as_env_does() {
        let exec = |kind: io::ErrorKind| LaunchError::Exec {
            program: "no\x1b[2Jne".into(),
            error: kind.into(),
        };
        assert_eq!(exec(io::ErrorKind::NotFound).exit_code(), 127);
        assert_eq!(exec(io::ErrorKind::PermissionDenied).exit_code(), 126);
        let failed = LaunchError::from(ProbeError::NoDescendants(String::new()));
        assert_eq!(failed.exit_code(), 125);
        assert!(!exec(io::ErrorKind::NotFound).to_string().contains('\x1b'));
    }

    #[test]
    fn without_a_command_there_is_nothing_to_launch() {
        assert!(Launch::prepare(&[]).unwrap().is_none());
    }
}
