//! Events of each process by destination: lower bounds if events were lost.

use std::collections::HashMap;

use twtrace_core::event::{Event, EventFacts};
use twtrace_core::model::destination::Destination;
use twtrace_core::model::destinations::DestinationRow;
use twtrace_wire::{EventKind, ProcessKey, Side};

/// Maximum number of pairs; events of further pairs are left out, and counted.
const MAX_PAIRS: usize = 16_384;

/// A destination, distinguished as in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DestinationKey {
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// How many earlier namespaces had this number since tracing began.
    pub netns_nth: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    pub destination: Destination,
}

impl DestinationKey {
    /// That of a row of the report.
    pub fn of(row: &DestinationRow) -> Self {
        Self {
            netns: row.netns,
            netns_nth: row.netns_nth,
            side: row.side,
            destination: row.destination,
        }
    }
}

/// Totals of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dealt {
    /// TIME_WAITs created.
    pub time_waits: u64,
    /// TIME_WAITs per second, at the last sample.
    pub rate: f64,
    /// RSTs, sent or received.
    pub resets: u64,
    /// Port allocations that failed.
    pub failures: u64,
    /// `time_waits` at the last sample.
    sampled: u64,
}

impl Dealt {
    /// Adds what another process did.
    pub fn add(&mut self, other: &Self) {
        self.time_waits += other.time_waits;
        self.rate += other.rate;
        self.resets += other.resets;
        self.failures += other.failures;
    }
}

#[derive(Clone, Debug, Default)]
pub struct Towards {
    pairs: HashMap<(ProcessKey, DestinationKey), Dealt>,
    left_out: u64,
}

/// The destination of an event.
pub fn destination_of(event: &Event) -> DestinationKey {
    DestinationKey {
        netns: event.netns,
        netns_nth: event.netns_nth,
        side: event.side,
        destination: Destination::of(event.side, event),
    }
}

impl Towards {
    /// Counts an event.
    pub fn apply(&mut self, event: &Event) {
        let mut more = Dealt::default();
        match &event.facts {
            EventFacts::TimeWait(_) => {
                more.time_waits = u64::from(event.event == EventKind::TimeWait);
            }
            EventFacts::Reset(_) => more.resets = 1,
            EventFacts::PortAlloc(facts) => {
                more.failures = u64::from(facts.is_failed_allocation());
            }
            // It was counted when it was created.
            EventFacts::TimeWaitEnd(_) => return,
            EventFacts::NoAddress(_) => return,
            _ => {}
        }
        let key = (event.answerable().key(), destination_of(event));
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let dealt = self.pairs.entry(key).or_default();
        dealt.time_waits += more.time_waits;
        dealt.resets += more.resets;
        dealt.failures += more.failures;
    }

    /// A sample was taken, this long after the last one; `None` for the first.
    pub fn sample(&mut self, seconds: Option<f64>) {
        for dealt in self.pairs.values_mut() {
            let grown = dealt.time_waits - dealt.sampled;
            dealt.rate = seconds.map_or(0.0, |seconds| grown as f64 / seconds);
            dealt.sampled = dealt.time_waits;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (ProcessKey, DestinationKey, Dealt)> {
        self.pairs
            .iter()
            .map(|((process, destination), dealt)| (*process, *destination, *dealt))
    }

    /// Number of events that found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::samples;

    use super::*;

    #[test]
    fn pairs_are_counted_and_bounded() {
        let mut towards = Towards::default();
        for event in [
            samples::time_wait(),
            samples::time_wait(),
            samples::reset(),
            samples::port_alloc(),
            samples::time_wait_end(),
        ] {
            towards.apply(&event);
        }
        towards.sample(Some(0.5));
        let pairs: Vec<_> = towards.iter().collect();
        assert_eq!(pairs.len(), 1);
        let dealt = pairs[0].2;
        assert_eq!((dealt.time_waits, dealt.resets, dealt.failures), (2, 1, 1));
        assert_eq!(dealt.rate, 4.0);
        for tgid in 0..MAX_PAIRS as u32 + 9 {
            let mut event = samples::reset();
            event.process = Some(samples::process(tgid + 5_000, "p"));
            towards.apply(&event);
        }
        assert_eq!(towards.iter().count(), MAX_PAIRS);
        assert_eq!(towards.left_out(), 10);
    }
}
