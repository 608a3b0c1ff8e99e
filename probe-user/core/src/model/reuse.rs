//! Connects that reused the tuple of a TIME_WAIT, and those that could not.

use serde::Serialize;
use twtrace_wire::{EndCause, ProcessTotals, ReuseRefusal};

use super::sparse::Nothing;
use crate::event::counts_by::CountsBy;
use crate::event::{Event, EventFacts};

/// TIME_WAITs that connect() found while it allocated a port.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reuse {
    /// Tuples reused.
    pub taken: u64,
    /// Connects that found at least one whose tuple they could not reuse.
    pub hindered: u64,
    /// TIME_WAITs that could not be reused. One connect may find many.
    pub refused: CountsBy<ReuseRefusal, { ReuseRefusal::COUNT }>,
}

impl Nothing for Reuse {
    const NOTHING: &'static Self = &Self {
        taken: 0,
        hindered: 0,
        refused: CountsBy::new([0; ReuseRefusal::COUNT]),
    };

    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl Reuse {
    /// From what the kernel side counted.
    pub fn from_totals(totals: &ProcessTotals) -> Self {
        Self {
            taken: totals.reused,
            hindered: totals.hindered,
            refused: CountsBy::new(totals.refused),
        }
    }

    /// Counts an allocation, or the end of a TIME_WAIT.
    pub fn add(&mut self, event: &Event) {
        match &event.facts {
            EventFacts::TimeWaitEnd(facts) if facts.cause == EndCause::ReusedByConnect => {
                self.taken += 1;
            }
            EventFacts::PortAlloc(facts) => {
                if let Some(refused) = &facts.refused_reuse
                    && refused.total() > 0
                {
                    self.hindered += 1;
                    self.refused.add_all(refused);
                }
            }
            _ => {}
        }
    }

    /// Adds another's numbers.
    pub fn add_all(&mut self, other: &Self) {
        self.taken += other.taken;
        self.hindered += other.hindered;
        self.refused.add_all(&other.refused);
    }

    /// Removes everything but the reused tuples.
    pub fn forget_refused(&mut self) {
        *self = Self {
            taken: self.taken,
            ..Self::default()
        };
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn searches_and_ends_are_counted() {
        let mut reuse = Reuse::default();
        reuse.add(&samples::time_wait());
        assert!(reuse.is_empty());
        reuse.add(&samples::port_alloc());
        reuse.add(&samples::port_alloc());
        reuse.add(&samples::time_wait_end());
        assert_eq!((reuse.taken, reuse.hindered), (1, 2));
        assert_eq!(
            serde_json::to_string(&reuse).unwrap(),
            r#"{"taken":1,"hindered":2,"refused":{"disabled":6}}"#
        );
        reuse.forget_refused();
        assert_eq!((reuse.taken, reuse.hindered), (1, 0));
    }
}
