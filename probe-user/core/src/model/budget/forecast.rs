//! When the ports of a budget run out, given how fast they are taken.

use std::time::Duration;

use crate::event::timestamp::SECOND_NS;

/// What a budget holds at the moment the forecast is made.
#[derive(Clone, Copy, Debug)]
pub struct PoolState<'a> {
    /// Ports there are.
    pub capacity: u64,
    /// Ports held by live sockets.
    pub live: u64,
    /// For each port held by a TIME_WAIT: when it is given back, nanoseconds from now; in order.
    pub given_back_ns: &'a [u64],
}

/// How fast ports are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Ports newly taken a second.
    pub taken_per_s: f64,
    /// Those of them that are not given back: live sockets become more by that many a second.
    pub kept_per_s: f64,
    /// How long a port is held after its connection, nanoseconds.
    pub hold_ns: u64,
}

/// What is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// No port is free now.
    Full,
    /// The last port is taken after this many nanoseconds.
    RunsOut(u64),
    /// Not at this pace.
    Never,
}

/// The first moment at which as many ports are held as there are.
///
/// Exact within this model: live sockets stay as many as they are, or grow by `kept_per_s`; what is in
/// TIME_WAIT now goes when its time is over; each port taken from now on goes into TIME_WAIT and is held for
/// `hold_ns`. So after t seconds
/// `live + those of given_back_ns beyond t + taken × min(t, hold) + kept × max(t − hold, 0)` ports are held.
pub fn forecast(held: &PoolState, pace: &Pace) -> Forecast {
    let still_held = |gone: usize| held.live + (held.given_back_ns.len() - gone) as u64;
    if still_held(0) >= held.capacity {
        return Forecast::Full;
    }
    let ends = held.given_back_ns.iter().map(|end_ns| Some(*end_ns));
    // Between two ends the number of held ports only grows, so it is enough to look for the moment at which
    // what is new makes up for what is free.
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
    /// When so many ports more than now are held by what is new, nanoseconds from now; `None` for never.
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
        // Beyond a century nobody asks.
        let after = Duration::try_from_secs_f64(after_s).ok()?;
        u64::try_from(after.as_nanos()).ok()
    }
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
