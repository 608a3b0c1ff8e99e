//! Rates by process: differences between two samples.

use std::collections::HashMap;

use twtrace_core::model::report::{ProcessRow, Report};
use twtrace_wire::{ProcessKey, Side};

use super::history::Point;

/// Totals of one process, as in reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// TIME_WAITs created, by [`Side`].
    pub time_waits: [u64; Side::COUNT],
    /// RSTs sent.
    pub resets_sent: u64,
    /// RSTs received.
    pub resets_received: u64,
    /// Ephemeral port allocations.
    pub searches: u64,
    /// Allocations that failed.
    pub failures: u64,
}

/// The same per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// TIME_WAITs created, by [`Side`].
    pub time_waits: [f64; Side::COUNT],
    /// RSTs sent.
    pub resets_sent: f64,
    /// RSTs received.
    pub resets_received: f64,
    /// Ephemeral port allocations.
    pub searches: f64,
    /// Allocations that failed.
    pub failures: f64,
}

impl Totals {
    /// Totals of a row.
    pub fn of(row: &ProcessRow) -> Self {
        let counts = &row.counts;
        Self {
            time_waits: [Side::Unknown, Side::Client, Side::Server]
                .map(|side| counts.time_wait.of(side)),
            resets_sent: counts.reset_sent.total(),
            resets_received: counts.reset_received.total(),
            searches: row.ports.iter().map(|port| port.count).sum(),
            failures: row.ports.iter().map(|port| port.failures).sum(),
        }
    }

    fn rates_since(&self, before: &Self, seconds: f64) -> Rates {
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Rates {
            time_waits: std::array::from_fn(|side| {
                rate(self.time_waits[side], before.time_waits[side])
            }),
            resets_sent: rate(self.resets_sent, before.resets_sent),
            resets_received: rate(self.resets_received, before.resets_received),
            searches: rate(self.searches, before.searches),
            failures: rate(self.failures, before.failures),
        }
    }
}

impl Rates {
    /// The sum of both.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            time_waits: std::array::from_fn(|side| self.time_waits[side] + other.time_waits[side]),
            resets_sent: self.resets_sent + other.resets_sent,
            resets_received: self.resets_received + other.resets_received,
            searches: self.searches + other.searches,
            failures: self.failures + other.failures,
        }
    }

    /// TIME_WAITs of one side.
    pub fn time_waits_of(&self, side: Side) -> f64 {
        match side {
            Side::Unknown => self.time_waits[0],
            Side::Client => self.time_waits[1],
            Side::Server => self.time_waits[2],
        }
    }

    /// TIME_WAITs of any side.
    pub fn all_time_waits(&self) -> f64 {
        self.time_waits.iter().sum()
    }
}

/// Totals of every process of a report.
pub fn totals(report: &Report) -> HashMap<ProcessKey, Totals> {
    report
        .processes
        .iter()
        .map(|row| (row.key(), Totals::of(row)))
        .collect()
}

/// Rates of every process, and of all together. A process that was not in the earlier sample began at 0.
pub fn between(
    before: &HashMap<ProcessKey, Totals>,
    now: &HashMap<ProcessKey, Totals>,
    seconds: f64,
) -> (HashMap<ProcessKey, Rates>, Point) {
    let mut all = Point::default();
    let rates = now.iter().map(|(key, totals)| {
        let before = before.get(key).copied().unwrap_or_default();
        let rates = totals.rates_since(&before, seconds);
        all.time_waits += rates.all_time_waits();
        all.resets_sent += rates.resets_sent;
        all.resets_received += rates.resets_received;
        all.searches += rates.searches;
        all.failures += rates.failures;
        (*key, rates)
    });
    (rates.collect(), all)
}
