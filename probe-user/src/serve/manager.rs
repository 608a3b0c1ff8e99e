//! What the service manager is told (sd_notify(3)); nothing where there is none.

use std::time::Duration;

use sd_notify::NotifyState;

/// The manager's end, if there is one.
#[derive(Debug)]
pub struct Manager {
    /// How often it wants to hear of us.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Asks the environment.
    pub fn find() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled().filter(|within| !within.is_zero()),
        }
    }

    /// How often to call [`Self::alive`]; `None` where nobody waits for it.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|within| within / 2)
    }

    /// Tracing began, or a reload is over.
    pub fn ready(&self, status: &str) {
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is read again.
    pub fn reloading(&self) {
        let mut states = vec![NotifyState::Reloading];
        states.extend(NotifyState::monotonic_usec_now().ok());
        notify(&states);
    }

    /// The loop goes round.
    pub fn alive(&self) {
        notify(&[NotifyState::Watchdog]);
    }

    /// It is about to end.
    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager can't be told: {error}");
    }
}
