//! Figures of a process, of the others, and of the whole host.

use twtrace_wire::{EndCause, EventKind, PortOp, PortTotals, ProcessTotals, ResetReason};

use super::histogram::{Histogram, SEARCH_BOUNDS_NS};
use crate::event::counts_by::CountsBy;
use crate::event::words::Word;
use crate::event::{Event, EventFacts, PortAlloc};
use crate::filter::Filter;
use crate::model::counts::Counts;
use crate::model::reuse::Reuse;

/// Port allocations by one system call.
#[derive(Clone, Debug)]
pub struct Searches {
    /// Allocations, with any result.
    pub count: u64,
    /// Allocations that failed.
    pub failures: u64,
    /// Allocations with a known latency.
    pub latency: Histogram,
}

impl Default for Searches {
    fn default() -> Self {
        Self {
            count: 0,
            failures: 0,
            latency: Histogram::new(SEARCH_BOUNDS_NS),
        }
    }
}

impl Searches {
    /// Adds counts of the kernel side.
    pub fn add(&mut self, totals: &PortTotals) {
        self.count += totals.count;
        self.failures += totals.failures;
        self.latency.add_searches(totals);
    }

    /// Counts an allocation from an event.
    pub fn add_event(&mut self, facts: &PortAlloc) {
        self.count += 1;
        self.failures += u64::from(facts.is_failed_allocation());
        if let Some(latency_ns) = facts.latency_ns {
            self.latency.add(latency_ns);
        }
    }
}

/// Counters of one series. None of them ever decreases.
#[derive(Clone, Debug, Default)]
pub struct SeriesCounters {
    /// TIME_WAITs, refusals, resets and aborts.
    pub counts: Counts,
    /// TIME_WAITs that its connects reused or could not reuse.
    pub reuse: Reuse,
    /// Port allocations, in the order of [`PortOp::MEMBERS`].
    pub searches: [Searches; PortOp::COUNT],
    /// Ends that were taken back and are not yet offset by new ones.
    owed_ends: CountsBy<EndCause, { EndCause::COUNT }>,
    /// The same for received RSTs.
    owed_resets: CountsBy<ResetReason, { ResetReason::COUNT }>,
}

/// What is added to a series together. Ends and received RSTs may be negative (two's complement): if the kernel side
/// finds that it counted one too early, it takes it back, and may have reported it before.
#[derive(Clone, Debug, Default)]
pub struct Added {
    /// TIME_WAITs, refusals, resets and aborts.
    pub counts: Counts,
    /// TIME_WAITs that connects reused or could not reuse.
    pub reuse: Reuse,
}

impl Added {
    /// Counts of the kernel side, as far as the filter shows them.
    pub fn from_totals(totals: &ProcessTotals, filter: &Filter) -> Self {
        let mut added = Self {
            counts: Counts::from_totals(totals),
            reuse: Reuse::from_totals(totals),
        };
        added.counts.keep_only(|kind| filter.shows_kind(kind));
        if !filter.shows_kind(EventKind::TimeWaitEnd) {
            added.reuse.taken = 0;
        }
        if !filter.shows_kind(EventKind::PortAlloc) {
            added.reuse.forget_refused();
        }
        added
    }

    /// Counts of an event for the responsible process.
    pub fn from_event(event: &Event) -> Self {
        let mut added = Self::default();
        added.counts.add(event);
        // The process that created the TIME_WAIT did not reuse it.
        if !matches!(event.facts, EventFacts::TimeWaitEnd(_)) {
            added.reuse.add(event);
        }
        added
    }

    /// Whether it adds nothing.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.reuse.is_empty()
    }

    /// Its weight in the decision which processes have a series. Ends of TIME_WAITs are excluded, as they come one
    /// minute late.
    pub fn worth(&self) -> u64 {
        let Counts {
            time_wait,
            overflow,
            reset_sent,
            reset_received,
            abort,
            ..
        } = &self.counts;
        let resets_received = reset_received.numbers().into_iter();
        time_wait.total()
            + overflow.total()
            + reset_sent.total()
            + abort.total()
            + resets_received.map(not_negative).sum::<u64>()
    }
}

impl SeriesCounters {
    /// Adds this, and returns what was really added: nothing decreases.
    pub fn add(&mut self, added: &Added) -> Added {
        let mut come_to = added.clone();
        come_to.counts.ended = settle(&mut self.owed_ends, &added.counts.ended);
        come_to.counts.reset_received = settle(&mut self.owed_resets, &added.counts.reset_received);
        self.counts.add_all(&come_to.counts);
        self.reuse.add_all(&come_to.reuse);
        come_to
    }

    /// Allocations by this system call.
    pub fn searches_by(&mut self, op: PortOp) -> &mut Searches {
        &mut self.searches[op as usize]
    }

    /// Allocations of each system call with at least one.
    pub fn searched(&self) -> impl Iterator<Item = (PortOp, &Searches)> {
        let ops = PortOp::MEMBERS.iter().copied().zip(&self.searches);
        ops.filter(|(_, searches)| searches.count > 0)
    }
}

/// What may be added now, after what was taken back.
fn settle<T, const N: usize>(
    taken_back: &mut CountsBy<T, N>,
    added: &CountsBy<T, N>,
) -> CountsBy<T, N> {
    let (mut debts, mut numbers) = (taken_back.numbers(), added.numbers());
    for (debt, number) in debts.iter_mut().zip(&mut numbers) {
        let taken_back = number.cast_signed().min(0).unsigned_abs();
        let come = not_negative(*number);
        *debt += taken_back;
        *number = come.saturating_sub(*debt);
        *debt = debt.saturating_sub(come);
    }
    *taken_back = CountsBy::new(debts);
    CountsBy::new(numbers)
}

fn not_negative(number: u64) -> u64 {
    number.cast_signed().max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_made_up_for_first() {
        let ended = |number: i64| {
            let mut added = Added::default();
            added.counts.ended = CountsBy::new([number.cast_unsigned(), 0, 0, 0, 0]);
            added
        };
        let mut figures = SeriesCounters::default();
        let mut came_to = 0;
        for (number, shown) in [(5, 5), (-2, 5), (1, 5), (-1, 5), (4, 7), (0, 7)] {
            came_to += figures.add(&ended(number)).counts.ended.total();
            assert_eq!(figures.counts.ended.total(), shown, "{number}");
            assert_eq!(came_to, shown);
        }
    }

    #[test]
    fn each_call_has_its_place() {
        for (place, op) in PortOp::MEMBERS.iter().enumerate() {
            assert_eq!(place, *op as usize);
        }
    }
}
