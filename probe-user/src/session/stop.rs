//! What ends tracing: a signal, or the end of `--duration`.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// Waits for the end.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
}

impl Stop {
    /// Listens for SIGINT and SIGTERM from here on. Needs a tokio runtime.
    ///
    /// # Errors
    /// When a handler can't be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            deadline: None,
        })
    }

    /// Starts the clock.
    pub fn after(&mut self, duration: Option<Duration>) {
        // A deadline beyond the clock's range never comes.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Waits for the end. Can be cancelled. After a signal, the next one ends the program at once.
    pub async fn wait(&mut self) {
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
}

fn restore_default_action() {
    for number in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: SIG_DFL is a valid action for both, and replacing a handler is safe at any time. If it
        // fails, the handler stays, which is no worse.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}
