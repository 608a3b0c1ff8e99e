//! Signals that concern a view on the terminal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals, besides those of [`Stop`](crate::session::stop::Stop), that end the view or move it to the background. Each
/// first gives the terminal back.
pub struct TerminalSignals {
    hangup: Signal,
    quit: Signal,
    suspend: Signal,
}

/// What a signal asks for.
pub enum TerminalSignal {
    /// SIGHUP, SIGQUIT: end.
    End,
    /// SIGTSTP: give the terminal back, and stop.
    Suspend,
}

impl TerminalSignals {
    /// Listens from here on. Needs a tokio runtime.
    ///
    /// # Errors
    /// If a handler can't be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            suspend: signal(SignalKind::from_raw(libc::SIGTSTP))?,
        })
    }

    /// Waits for one. Can be cancelled.
    pub async fn wait(&mut self) -> TerminalSignal {
        tokio::select! {
            _ = self.hangup.recv() => TerminalSignal::End,
            _ = self.quit.recv() => TerminalSignal::End,
            _ = self.suspend.recv() => TerminalSignal::Suspend,
        }
    }
}
