//! Messages to the service manager (sd_notify(3)); nothing if there is none.

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
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("can't notify the service manager: {error}");
    }
}
