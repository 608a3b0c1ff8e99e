//! Predicts when the ports of a pool run out, given the rate at which they are taken.

use std::time::Duration;

use super::row::Outlook;
use crate::event::timestamp::SECOND_NS;

/// What a pool holds at the time of the forecast.
#[derive(Clone, Copy, Debug)]
pub struct PoolState<'a> {
    /// Number of ports.
    pub capacity: u64,
    /// Ports held by live sockets.
    pub live: u64,
    /// For each port held by a TIME_WAIT: when it is released, nanoseconds from now; ascending.
    pub given_back_ns: &'a [u64],
}

/// The rate at which ports are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Ports newly taken per second.
    pub taken_per_s: f64,
    /// Those that are not released: the increase of live sockets per second.
    pub kept_per_s: f64,
    /// How long a port is held after its connection, nanoseconds.
    pub hold_ns: u64,
}

/// A forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// No port is free now.
    Full,
    /// The last port is taken after this many nanoseconds.
    RunsOut(u64),
    /// Not at this pace.
    Never,
}

impl Forecast {
    /// As rows have it: with the nanoseconds until no port is free.
    pub fn outlook(self) -> (Outlook, Option<u64>) {
        match self {
            Self::Full => (Outlook::Full, Some(0)),
            Self::RunsOut(after_ns) => (Outlook::RunsOut, Some(after_ns)),
            Self::Never => (Outlook::Never, None),
        }
    }
}

/// The first time at which all ports are held.
///
/// Exact within this model: the number of live sockets stays constant, or grows by `kept_per_s`; what is in TIME_WAIT
/// now ends when its time is over; each port taken from now on changes to TIME_WAIT and is held for `hold_ns`. So after
/// t seconds `live + those of given_back_ns beyond t + taken × min(t, hold) + kept × max(t − hold, 0)` ports are held.
pub fn forecast(held: &PoolState, pace: &Pace) -> Forecast {
    let still_held = |gone: usize| held.live + (held.given_back_ns.len() - gone) as u64;
    if still_held(0) >= held.capacity {
        return Forecast::Full;
    }
    let ends = held.given_back_ns.iter().map(|end_ns| Some(*end_ns));
    // Between two ends the number of held ports only grows, so it is enough to find the time at which the new ones fill
    // the free ports.
    for (gone, end_ns) in ends.chain([None]).enumerate() {
        let free = held.capacity - still_held(gone);
        match (pace.until_taken_ns(free), end_ns) {
            (Some(at_ns), None) => return Forecast::RunsOut(at_ns),
            (Some(at_ns), Some(end_ns)) if at_ns < end_ns => return Forecast::RunsOut(at_ns),
            (Some(_) | None, _) => {}
        }
    }
    Forecast::Never
}

impl Pace {
    /// When new connections hold this many ports more than now, nanoseconds from now; `None` for never.
    fn until_taken_ns(&self, ports: u64) -> Option<u64> {
        let ports = ports as f64;
        let hold_s = self.hold_ns as f64 / SECOND_NS as f64;
        let at_most = self.taken_per_s * hold_s;
        let after_s = if ports <= at_most {
            ports / self.taken_per_s
        } else if self.kept_per_s > 0.0 {
            hold_s + (ports - at_most) / self.kept_per_s
        } else {
            return None;
        };
        // More than a century is treated as never.
        let after = Duration::try_from_secs_f64(after_s).ok()?;
        u64::try_from(after.as_nanos()).ok()
    }
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
