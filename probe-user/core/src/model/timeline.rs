//! Counts over time, per interval, from events alone.
//!
//! Memory is bounded: the number of intervals is, and their width doubles when the time exceeds them.

use serde::Serialize;
use twtrace_wire::{EventKind, ResetDirection, Side};

use crate::event::counts_by::CountsBy;
use crate::event::{Event, EventFacts, Lost, Timestamp};

/// Maximum number of intervals.
pub const MAX_BUCKETS: usize = 600;
/// Initial width of an interval, nanoseconds.
const FIRST_WIDTH_NS: u64 = 100_000_000;

/// Counts of one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Mini-sockets created, by side.
    pub time_wait: CountsBy<Side, { Side::COUNT }>,
    /// Mini-sockets refused.
    pub overflow: u64,
    /// RSTs sent.
    pub reset_sent: u64,
    /// RSTs received.
    pub reset_received: u64,
    /// Ephemeral port allocations that failed.
    pub port_failures: u64,
    /// Events whose loss was noticed in this interval. They happened then or before.
    pub lost: u64,
}

/// Counts since tracing began.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// Start of the first interval.
    pub start: Timestamp,
    /// The same on CLOCK_MONOTONIC, nanoseconds.
    pub start_mono_ns: u64,
    /// Width of an interval, nanoseconds.
    pub width_ns: u64,
    /// The intervals up to the last one with events.
    pub buckets: Vec<Bucket>,
}

impl Timeline {
    /// Initially empty.
    pub const fn new(start_mono_ns: u64, start: Timestamp) -> Self {
        Self {
            start,
            start_mono_ns,
            width_ns: FIRST_WIDTH_NS,
            buckets: Vec::new(),
        }
    }

    /// Counts an event by its own time. An event from before the start counts in the first interval.
    pub fn apply(&mut self, event: &Event) {
        match &event.facts {
            EventFacts::TimeWait(_) if event.event == EventKind::TimeWaitOverflow => {
                self.at(event.mono_ns).overflow += 1;
            }
            EventFacts::TimeWait(_) => self.at(event.mono_ns).time_wait.add(event.side),
            EventFacts::Reset(facts) => match facts.direction {
                ResetDirection::Sent => self.at(event.mono_ns).reset_sent += 1,
                ResetDirection::Received => self.at(event.mono_ns).reset_received += 1,
            },
            EventFacts::PortAlloc(facts) if facts.is_failed_allocation() => {
                self.at(event.mono_ns).port_failures += 1;
            }
            _ => {}
        }
    }

    /// Counts lost events at the time when the loss was noticed.
    pub fn lost(&mut self, lost: &Lost) {
        if lost.probe.is_event() {
            let bucket = self.at(lost.mono_ns);
            bucket.lost = bucket.lost.saturating_add(lost.count);
        }
    }

    /// The same with intervals of at least this width, for data with a lower resolution.
    pub fn with_width(mut self, width_ns: u64) -> Self {
        self.width_ns = self.width_ns.max(width_ns);
        self
    }

    /// Adds counts at a time.
    pub fn add(&mut self, mono_ns: u64, counts: &Bucket) {
        self.at(mono_ns).add_all(counts);
    }

    /// The sum of all intervals.
    pub fn sum(&self) -> Bucket {
        let mut sum = Bucket::default();
        self.buckets.iter().for_each(|bucket| sum.add_all(bucket));
        sum
    }

    /// All intervals up to an end, including empty ones. Later ones are kept.
    pub fn until(&self, end_mono_ns: u64) -> Self {
        let mut whole = self.clone();
        if let Some(last_mono_ns) = end_mono_ns.checked_sub(1)
            && last_mono_ns >= self.start_mono_ns
        {
            whole.at(last_mono_ns);
        }
        whole
    }

    /// Wall-clock start of an interval.
    pub fn starts_at(&self, index: usize) -> Timestamp {
        let offset_ns = self.width_ns.saturating_mul(index as u64);
        Timestamp(self.start.0.saturating_add(offset_ns))
    }

    fn at(&mut self, mono_ns: u64) -> &mut Bucket {
        let offset_ns = mono_ns.saturating_sub(self.start_mono_ns);
        while offset_ns / self.width_ns >= MAX_BUCKETS as u64 {
            self.widen();
        }
        // Below MAX_BUCKETS.
        let index = (offset_ns / self.width_ns) as usize;
        if self.buckets.len() <= index {
            self.buckets.resize_with(index + 1, Bucket::default);
        }
        &mut self.buckets[index]
    }

    /// Doubles the width: merges neighbours.
    fn widen(&mut self) {
        self.width_ns *= 2;
        self.buckets = self
            .buckets
            .chunks(2)
            .map(|pair| {
                let mut sum = Bucket::default();
                pair.iter().for_each(|bucket| sum.add_all(bucket));
                sum
            })
            .collect();
    }
}

impl Bucket {
    /// Adds another's counts.
    pub fn add_all(&mut self, other: &Self) {
        self.time_wait.add_all(&other.time_wait);
        self.overflow += other.overflow;
        self.reset_sent += other.reset_sent;
        self.reset_received += other.reset_received;
        self.port_failures += other.port_failures;
        self.lost = self.lost.saturating_add(other.lost);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twtrace_wire::Probe;

    use super::*;
    use crate::event::lost::LostWord;
    use crate::event::{LostBy, samples};

    const START_NS: u64 = 1_000_000_000;

    fn empty() -> Timeline {
        Timeline::new(START_NS, Timestamp(0))
    }

    fn at(mut event: Event, mono_ns: u64) -> Event {
        event.mono_ns = mono_ns;
        event
    }

    fn sum(timeline: &Timeline) -> Bucket {
        let mut sum = Bucket::default();
        timeline.buckets.iter().for_each(|one| sum.add_all(one));
        sum
    }

    fn lost(probe: Probe, count: u64) -> Lost {
        Lost {
            ts: Timestamp(0),
            mono_ns: START_NS,
            event: LostWord::Lost,
            probe: LostBy::Probe(probe),
            count,
        }
    }

    #[test]
    fn each_kind_counts_in_its_interval() {
        let mut timeline = empty();
        timeline.apply(&at(samples::time_wait(), START_NS + 50_000_000));
        timeline.apply(&at(samples::reset(), START_NS + 250_000_000));
        timeline.apply(&at(samples::port_alloc(), START_NS + 250_000_000));
        timeline.apply(&at(samples::abort(), START_NS + 250_000_000));
        // Out of order, and from before the start.
        timeline.apply(&at(samples::time_wait(), 5));
        timeline.lost(&lost(Probe::Reset, 7));
        // Not an event.
        timeline.lost(&lost(Probe::SocketMap, 9));
        assert_eq!(timeline.buckets.len(), 3);
        assert_eq!(timeline.buckets[0].time_wait.of(Side::Client), 2);
        assert_eq!(timeline.buckets[0].lost, 7);
        assert_eq!(timeline.buckets[1], Bucket::default());
        let last = &timeline.buckets[2];
        assert_eq!((last.reset_sent, last.port_failures), (1, 1));
        assert_eq!(timeline.starts_at(2), Timestamp(200_000_000));
    }

    #[test]
    fn quiet_time_is_there_too() {
        let ten_seconds = empty().until(START_NS + 10_000_000_000);
        assert_eq!(ten_seconds.buckets.len(), 100);
        let hour = empty().until(START_NS + 3_600_000_000_000);
        assert_eq!((hour.width_ns, hour.buckets.len()), (6_400_000_000, 563));
        assert!(empty().until(START_NS).buckets.is_empty());
        assert!(empty().until(0).buckets.is_empty());
    }

    proptest! {
        #[test]
        fn nothing_gets_lost_whatever_the_widths(
            times in prop::collection::vec(prop_oneof![0..200_000_000_000_u64, any::<u64>()], 0..200),
            end_ns: u64,
        ) {
            let mut timeline = empty();
            for mono_ns in &times {
                timeline.apply(&at(samples::time_wait(), *mono_ns));
            }
            let whole = timeline.until(end_ns);
            for timeline in [timeline, whole] {
                prop_assert!(timeline.buckets.len() <= MAX_BUCKETS);
                prop_assert_eq!(sum(&timeline).time_wait.total(), times.len() as u64);
            }
        }

        #[test]
        fn the_order_makes_no_difference(
            times in prop::collection::vec(0..500_000_000_000_u64, 1..100),
        ) {
            let of = |times: &[u64]| {
                let mut timeline = empty();
                for mono_ns in times {
                    timeline.apply(&at(samples::reset(), *mono_ns));
                }
                (timeline.width_ns, timeline.buckets)
            };
            let mut sorted = times.clone();
            sorted.sort_unstable();
            prop_assert_eq!(of(&times), of(&sorted));
        }
    }
}
