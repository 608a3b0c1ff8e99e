//! Destinations that refused connections, and whether others were established in between.

use std::collections::HashMap;

use twtrace_wire::{ResetDirection, ResetReason, Side};

use crate::event::{Event, EventFacts};
use crate::model::destination::Destination;

/// Maximum number of destinations that are remembered.
const MAX_DESTINATIONS: usize = 1_024;

/// The namespace, and how many earlier ones had its number.
type Key = (u32, u32, Destination);

/// Refusals of one destination, and connections to it, of all its clients. Times are CLOCK_MONOTONIC in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    first_ns: u64,
    last_ns: u64,
    /// The longest time between two refusals.
    gap_ns: u64,
    /// When the earliest and the latest connection was established that began after the first refusal.
    began_ns: Option<(u64, u64)>,
}

impl Outage {
    /// Whether a connection was established between two refusals: only some are refused.
    pub fn is_interrupted(&self) -> bool {
        self.began_ns
            .is_some_and(|(first_ns, _)| first_ns < self.last_ns)
    }

    /// Whether connections were established after all refusals, and for much longer than refusals were apart.
    pub fn is_over(&self) -> bool {
        let since_ns = self
            .began_ns
            .map(|(_, last_ns)| last_ns.saturating_sub(self.last_ns));
        !self.is_interrupted()
            && since_ns.is_some_and(|since_ns| since_ns > self.gap_ns.saturating_mul(2))
    }

    fn refuse(&mut self, at_ns: u64) {
        self.gap_ns = self.gap_ns.max(at_ns.saturating_sub(self.last_ns));
        self.last_ns = self.last_ns.max(at_ns);
    }

    fn begin(&mut self, at_ns: u64) {
        if at_ns > self.first_ns {
            let (first_ns, last_ns) = self.began_ns.unwrap_or((at_ns, at_ns));
            self.began_ns = Some((first_ns.min(at_ns), last_ns.max(at_ns)));
        }
    }
}

/// By destination.
#[derive(Clone, Debug, Default)]
pub struct Outages(HashMap<Key, Outage>);

impl Outages {
    /// Notes the refusal of a client, or when its connection was established: that is known at its end.
    pub fn note(&mut self, key: Key, event: &Event) {
        let flow = match &event.facts {
            EventFacts::Reset(reset)
                if reset.direction == ResetDirection::Received
                    && reset.reason == ResetReason::Refused =>
            {
                self.refuse(key, event.mono_ns);
                return;
            }
            EventFacts::Reset(reset) => &reset.flow,
            EventFacts::TimeWait(closed) => &closed.flow,
            EventFacts::Abort(abort) => &abort.flow,
            _ => return,
        };
        if event.side == Side::Client
            && let Some(age_ns) = flow.connection_ns
            && let Some(outage) = self.0.get_mut(&key)
        {
            outage.begin(event.mono_ns.saturating_sub(age_ns));
        }
    }

    /// What is known of a destination.
    pub fn of(&self, key: Key) -> Option<Outage> {
        self.0.get(&key).copied()
    }

    fn refuse(&mut self, key: Key, at_ns: u64) {
        if let Some(outage) = self.0.get_mut(&key) {
            outage.refuse(at_ns);
        } else if self.0.len() < MAX_DESTINATIONS {
            let outage = Outage {
                first_ns: at_ns,
                last_ns: at_ns,
                gap_ns: 0,
                began_ns: None,
            };
            self.0.insert(key, outage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    const KEY: Key = (1, 0, Destination::LocalPort(80));

    fn refused(at_ns: u64) -> Event {
        let mut event = samples::reset();
        event.mono_ns = at_ns;
        if let EventFacts::Reset(facts) = &mut event.facts {
            facts.direction = ResetDirection::Received;
            facts.reason = ResetReason::Refused;
        }
        event
    }

    /// A connection that lasted for 500 ns.
    fn began(at_ns: u64) -> Event {
        let mut event = samples::time_wait();
        event.side = Side::Client;
        event.mono_ns = at_ns + 500;
        if let EventFacts::TimeWait(facts) = &mut event.facts {
            facts.flow.connection_ns = Some(500);
        }
        event
    }

    fn outage(events: impl IntoIterator<Item = Event>) -> Outage {
        let mut outages = Outages::default();
        for event in events {
            outages.note(KEY, &event);
        }
        outages.of(KEY).unwrap()
    }

    #[test]
    fn it_is_over_only_if_nothing_was_refused_in_between() {
        let down = || (1..=5).map(|number| refused(number * 1_000));
        assert!(!outage(down()).is_over());
        assert!(!outage(down().chain([began(6_000)])).is_over(), "too soon");
        assert!(outage(down().chain([began(900), began(8_000)])).is_over());
        let interrupted = outage(down().chain([began(2_500), began(90_000)]));
        assert!(interrupted.is_interrupted() && !interrupted.is_over());
        // The next refusals come.
        let again = outage(down().chain([began(8_000), refused(9_000), began(90_000)]));
        assert!(again.is_interrupted() && !again.is_over());
    }

    #[test]
    fn memory_is_bounded() {
        let mut outages = Outages::default();
        for netns in 0..2 * MAX_DESTINATIONS as u32 {
            outages.note((netns, 0, Destination::LocalPort(80)), &refused(1));
        }
        assert_eq!(outages.0.len(), MAX_DESTINATIONS);
    }
}
