//! Events that are kept individually: failures, slow allocations, resets. Bounded, and fair to each kind.

use twtrace_wire::{EventKind, ResetDirection};

use crate::event::{Event, EventFacts, PortResult};

/// Number of kinds, each of which has a share of its own.
const KINDS: usize = 7;

/// Why an event is notable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotableKind {
    PortFailed,
    PortSlow,
    ResetSent,
    ResetReceived,
    Abort,
    Overflow,
    NoAddress,
}

impl NotableKind {
    /// `None` for events that are only counted.
    fn of(event: &Event) -> Option<Self> {
        match &event.facts {
            EventFacts::PortAlloc(facts) => Some(match facts.result {
                PortResult::Failed(_) => Self::PortFailed,
                PortResult::Ok => Self::PortSlow,
            }),
            EventFacts::Reset(facts) => Some(match facts.direction {
                ResetDirection::Sent => Self::ResetSent,
                ResetDirection::Received => Self::ResetReceived,
            }),
            EventFacts::Abort(_) => Some(Self::Abort),
            EventFacts::NoAddress(_) => Some(Self::NoAddress),
            EventFacts::TimeWait(_) if event.event == EventKind::TimeWaitOverflow => {
                Some(Self::Overflow)
            }
            _ => None,
        }
    }
}

/// The notable events of one interval.
#[derive(Debug)]
pub struct Notable {
    max: usize,
    slow_port_ns: u64,
    kinds: [Vec<Event>; KINDS],
    left_out: u64,
}

/// The events that were kept.
#[derive(Clone, Debug, Default)]
pub struct NotableEvents {
    /// In the order of their times.
    pub events: Vec<Event>,
    /// Number of events without room.
    pub left_out: u64,
}

impl Notable {
    /// Initially empty, with room for `max` events. A successful port allocation is notable if it took at least
    /// `slow_port_ns`.
    pub fn new(max: usize, slow_port_ns: u64) -> Self {
        Self {
            max,
            slow_port_ns,
            kinds: Default::default(),
            left_out: 0,
        }
    }

    /// Takes an event that passes the filter. Without room, the first of each kind stay: a flood of one kind leaves the
    /// others their share.
    pub fn add(&mut self, event: &Event) {
        let Some(kind) = NotableKind::of(event) else {
            return;
        };
        if kind == NotableKind::PortSlow && !self.is_slow(event) {
            return;
        }
        let held: usize = self.kinds.iter().map(Vec::len).sum();
        let kind = kind as usize;
        if held >= self.max {
            self.left_out += 1;
            let largest = (0..KINDS).max_by_key(|kind| self.kinds[*kind].len());
            match largest {
                Some(largest) if self.kinds[kind].len() < self.max / KINDS => {
                    self.kinds[largest].pop();
                }
                _ => return,
            }
        }
        self.kinds[kind].push(event.clone());
    }

    fn is_slow(&self, event: &Event) -> bool {
        match &event.facts {
            EventFacts::PortAlloc(facts) => facts
                .latency_ns
                .is_some_and(|latency_ns| latency_ns >= self.slow_port_ns),
            _ => false,
        }
    }

    /// Takes the events, and starts again.
    pub fn take(&mut self) -> NotableEvents {
        let mut events = std::mem::take(&mut self.kinds).concat();
        events.sort_by_key(|event| event.mono_ns);
        NotableEvents {
            events,
            left_out: std::mem::take(&mut self.left_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    fn at(mut event: Event, mono_ns: u64) -> Event {
        event.mono_ns = mono_ns;
        event
    }

    #[test]
    fn what_is_only_counted_is_not_kept() {
        let mut notable = Notable::new(10, 1_000_000);
        notable.add(&samples::time_wait());
        notable.add(&samples::time_wait_end());
        let mut fast = samples::port_alloc();
        if let EventFacts::PortAlloc(facts) = &mut fast.facts {
            facts.result = PortResult::Ok;
        }
        notable.add(&fast);
        assert!(notable.take().events.is_empty());
        if let EventFacts::PortAlloc(facts) = &mut fast.facts {
            facts.latency_ns = Some(1_000_000);
        }
        notable.add(&fast);
        notable.add(&samples::port_alloc());
        notable.add(&samples::reset());
        notable.add(&samples::abort());
        let kept = notable.take();
        assert_eq!((kept.events.len(), kept.left_out), (4, 0));
        assert!(notable.take().events.is_empty());
    }

    #[test]
    fn a_flood_of_one_kind_leaves_room_for_others() {
        let mut notable = Notable::new(70, 0);
        for mono_ns in 0..1_000 {
            notable.add(&at(samples::reset(), mono_ns));
        }
        for mono_ns in 1_000..1_020 {
            notable.add(&at(samples::abort(), mono_ns));
        }
        let kept = notable.take();
        let aborts = |event: &&Event| matches!(event.facts, EventFacts::Abort(_));
        assert_eq!(kept.events.iter().filter(aborts).count(), 10);
        assert_eq!((kept.events.len(), kept.left_out), (70, 950));
        assert_eq!(kept.events[0].mono_ns, 0);
        assert!(kept.events.is_sorted_by_key(|event| event.mono_ns));
    }
}
