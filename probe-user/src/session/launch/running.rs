//! The command while it runs, and its end.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::{FAILED, Launch, LaunchError};
use crate::session::Session;

/// How long tracing continues after the command has ended. Its sockets are closed as it exits, but a TIME_WAIT is
/// created one round trip later, when the peer acknowledges. Resets are also held back for 150 ms.
const GRACE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct RunningCommand {
    child: Child,
    quit: Signal,
    /// `None` if twtrace was started with SIGHUP ignored: it stays ignored for both.
    hangup: Option<Signal>,
    ended: Option<(io::Result<ExitStatus>, Instant)>,
}

impl RunningCommand {
    /// Starts the command.
    ///
    /// # Errors
    /// If the command can't be run, or a signal can't be listened for.
    pub fn start(session: &mut Session, launch: &Launch) -> Result<Self, LaunchError> {
        // First, because a signal that ends the command must not end twtrace from here on.
        let listen = |kind| signal(kind).map_err(LaunchError::Signals);
        let quit = listen(SignalKind::quit())?;
        let hangup = if launch.ignores(libc::SIGHUP) {
            None
        } else {
            Some(listen(SignalKind::hangup())?)
        };
        Ok(Self {
            child: session.launch(launch)?,
            quit,
            hangup,
            ended: None,
        })
    }

    /// Waits until the command has ended, and a moment more. Can be cancelled. The terminal sends SIGINT and SIGQUIT
    /// to the command as well; signals sent to twtrace alone are passed on.
    pub async fn wait(&mut self, interrupt: &mut Signal, terminate: &mut Signal) {
        loop {
            if let Some((_, at)) = &self.ended {
                tokio::select! {
                    () = sleep_until(*at + GRACE) => {}
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                return;
            }
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let pass_on = tokio::select! {
                status = self.child.wait() => {
                    self.ended = Some((status, Instant::now()));
                    None
                }
                _ = interrupt.recv() => None,
                _ = self.quit.recv() => None,
                _ = terminate.recv() => Some(libc::SIGTERM),
                _ = hangup => Some(libc::SIGHUP),
            };
            if let Some(number) = pass_on {
                self.pass_on(number);
            }
        }
    }

    fn pass_on(&self, number: libc::c_int) {
        // `None` once it has been waited for: its pid may belong to another process then.
        let pid = self
            .child
            .id()
            .and_then(|pid| libc::pid_t::try_from(pid).ok());
        if let Some(pid) = pid {
            // SAFETY: plain numbers, and the pid is that of a child. If the kernel refuses (a set-user-ID program),
            // nothing can be done.
            unsafe { libc::kill(pid, number) };
        }
    }

    /// The command's own exit code, or 128 plus the signal that killed it.
    pub fn exit_code(&self) -> u8 {
        match &self.ended {
            Some((Ok(status), _)) => code_of(*status),
            Some((Err(error), _)) => {
                log::warn!("how the command ended is not known: {error}");
                FAILED
            }
            None => FAILED,
        }
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_code_is_passed_on_and_a_signal_shows() {
        let of = |raw| code_of(ExitStatus::from_raw(raw));
        assert_eq!(of(0), 0);
        assert_eq!(of(7 << 8), 7);
        assert_eq!(of(255 << 8), 255);
        assert_eq!(of(libc::SIGKILL), 137);
        assert_eq!(of(libc::SIGSEGV | 0x80), 139, "with a core");
    }
}
