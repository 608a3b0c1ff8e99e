//! Whether the tracer works: its loop reports it, the HTTP thread reads it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The loop counts as stuck after this time without a round. It may scan the sockets of all namespaces in a round,
/// which takes a while on a crowded host.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);

/// Progress of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ServiceStage {
    /// Probes are attached, but the first sample has not been taken.
    Starting = 0,
    Tracing = 1,
    Stopping = 2,
}

/// Shared between both threads.
#[derive(Debug)]
pub struct Health {
    since: Instant,
    /// When the loop last completed a round, milliseconds after `since`.
    beat_ms: AtomicU64,
    stage: AtomicU8,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            beat_ms: AtomicU64::new(0),
            stage: AtomicU8::new(ServiceStage::Starting as u8),
        }
    }
}

impl Health {
    /// Called in each round of the loop.
    pub fn beat(&self) {
        self.beat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Sets the stage.
    pub fn reach(&self, stage: ServiceStage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
        self.beat();
    }

    /// Whether the loop still runs; otherwise the reason for the verdict.
    pub fn alive(&self) -> Result<(), String> {
        let silent_ms = self
            .now_ms()
            .saturating_sub(self.beat_ms.load(Ordering::Relaxed));
        match Duration::from_millis(silent_ms) {
            silent if silent > STUCK_AFTER => Err(format!(
                "the tracer's loop has not run for {} s",
                silent.as_secs()
            )),
            _ => Ok(()),
        }
    }

    /// Whether its metrics are usable.
    pub fn ready(&self) -> Result<(), String> {
        match self.stage.load(Ordering::Relaxed) {
            stage if stage == ServiceStage::Tracing as u8 => self.alive(),
            stage if stage == ServiceStage::Stopping as u8 => Err("it is about to end".to_owned()),
            _ => Err("it has not begun to count yet".to_owned()),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_while_it_traces_and_alive_while_it_goes_round() {
        let mut health = Health::default();
        assert!(health.alive().is_ok() && health.ready().is_err());
        health.reach(ServiceStage::Tracing);
        assert!(health.ready().is_ok());
        health.since -= STUCK_AFTER + Duration::from_secs(2);
        let why = health.alive().unwrap_err();
        assert!(why.contains("has not run for"), "{why}");
        assert!(health.ready().is_err());
        health.beat();
        assert!(health.ready().is_ok());
        health.reach(ServiceStage::Stopping);
        assert!(health.ready().is_err() && health.alive().is_ok());
    }
}
