//! Messages to the service manager (sd_notify(3)); nothing if there is none.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Once;
use std::time::Duration;

use sd_notify::NotifyState;

/// Socket of the manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    /// Interval of the watchdog.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Reads the environment.
    pub fn find() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled().filter(|within| !within.is_zero()),
        }
    }

    /// How often to call [`Self::alive`]; `None` if there is no watchdog.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|within| within / 2)
    }

    /// Tracing began, or a reload is complete.
    pub fn ready(&self, status: &str) {
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being reloaded.
    pub fn reloading(&self) {
        let mut states = vec![NotifyState::Reloading];
        states.extend(NotifyState::monotonic_usec_now().ok());
        notify(&states);
    }

    /// The loop still runs.
    pub fn alive(&self) {
        notify(&[NotifyState::Watchdog]);
    }

    /// The service is about to end.
    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(states, &socket) {
        static LOGGED: Once = Once::new();
        // Landlock refuses abstract sockets, so `--privileges least` reaches a path only.
        LOGGED.call_once(|| {
            log::warn!(
                "can't notify the service manager ({}): {error}",
                socket.display()
            );
        });
    }
}

/// As `sd_notify::notify`, but without connect(), which the tracer may not call.
fn send(states: &[NotifyState<'_>], socket: &OsStr) -> io::Result<()> {
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let sender = UnixDatagram::unbound()?;
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    sender.send_to_addr(text.as_bytes(), &address).map(drop)
}
