//! What ends tracing: a signal, the end of `--duration`, or the end of the command.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::Session;
use super::launch::{Launch, LaunchError, RunningCommand};

#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
    command: Option<RunningCommand>,
}

impl Stop {
    /// Listens for SIGINT and SIGTERM from here on. Needs a tokio runtime.
    ///
    /// # Errors
    /// If a handler can't be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            deadline: None,
            command: None,
        })
    }

    /// Starts the time of `--duration`.
    pub fn after(&mut self, duration: Option<Duration>) {
        // A deadline beyond the clock's range never arrives.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Starts the command. From then on tracing ends with it, and signals are passed on to it.
    pub fn launch(&mut self, session: &mut Session, launch: &Launch) -> Result<(), LaunchError> {
        self.command = Some(RunningCommand::start(session, launch)?);
        Ok(())
    }

    /// Waits for the end. Can be cancelled. After a signal, or when the command has ended, the next signal ends the
    /// program at once.
    pub async fn wait(&mut self) {
        if let Some(command) = &mut self.command {
            command.wait(&mut self.interrupt, &mut self.terminate).await;
            restore_default_action();
            return;
        }
        let deadline = self.deadline;
        let past_deadline = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => restore_default_action(),
            _ = self.terminate.recv() => restore_default_action(),
            () = past_deadline => {}
        }
    }

    /// Waits for the command to end, if one was started and tracing ended first.
    pub async fn wait_for_command(&mut self) {
        if self.command.is_some() {
            self.wait().await;
        }
    }

    /// The exit code of the command, which has ended; `None` if there was none.
    pub fn command_exit_code(&self) -> Option<u8> {
        self.command.as_ref().map(RunningCommand::exit_code)
    }
}

fn restore_default_action() {
    for number in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: SIG_DFL is a valid action for both, and replacing a handler is safe at any time. If it
        // fails, the handler stays, which is no worse.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}
