//! Counts of a process or a destination.

use serde::Serialize;
use twtrace_wire::{
    AbortReason, EndCause, EventKind, ProcessTotals, ResetDirection, ResetReason, Side,
};

use super::sparse::Nothing;
use crate::event::counts_by::CountsBy;
use crate::event::{Event, EventFacts};

/// TIME_WAITs, refusals, resets and aborts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Mini-sockets created.
    pub time_wait: CountsBy<Side, { Side::COUNT }>,
    /// Those of `time_wait` that began in FIN_WAIT2.
    pub fin_wait2: CountsBy<Side, { Side::COUNT }>,
    /// Mini-sockets refused.
    pub overflow: CountsBy<Side, { Side::COUNT }>,
    /// RSTs sent.
    pub reset_sent: CountsBy<ResetReason, { ResetReason::COUNT }>,
    /// RSTs received.
    pub reset_received: CountsBy<ResetReason, { ResetReason::COUNT }>,
    /// Connections that ended without RST.
    pub abort: CountsBy<AbortReason, { AbortReason::COUNT }>,
    /// Mini-sockets that ended.
    pub ended: CountsBy<EndCause, { EndCause::COUNT }>,
}

impl Counts {
    /// From what the kernel side counted.
    pub fn from_totals(totals: &ProcessTotals) -> Self {
        Self {
            time_wait: CountsBy::new(totals.time_wait),
            fin_wait2: CountsBy::new(totals.fin_wait2),
            overflow: CountsBy::new(totals.overflow),
            reset_sent: CountsBy::new(totals.reset_sent),
            reset_received: CountsBy::new(totals.reset_received),
            abort: CountsBy::new(totals.abort),
            ended: CountsBy::new(totals.ended),
        }
    }

    /// Counts an event. Port allocations are counted elsewhere.
    pub fn add(&mut self, event: &Event) {
        match &event.facts {
            EventFacts::TimeWait(_) if event.event == EventKind::TimeWaitOverflow => {
                self.overflow.add(event.side);
            }
            EventFacts::TimeWait(facts) => {
                self.time_wait.add(event.side);
                if facts.state == Some(twtrace_wire::TcpState::FinWait2) {
                    self.fin_wait2.add(event.side);
                }
            }
            EventFacts::Reset(facts) => match facts.direction {
                ResetDirection::Sent => self.reset_sent.add(facts.reason),
                ResetDirection::Received => self.reset_received.add(facts.reason),
            },
            EventFacts::Abort(facts) => self.abort.add(facts.reason),
            EventFacts::TimeWaitEnd(facts) => self.ended.add(facts.cause),
            _ => {}
        }
    }

    /// Adds another's numbers.
    pub fn add_all(&mut self, other: &Self) {
        self.time_wait.add_all(&other.time_wait);
        self.fin_wait2.add_all(&other.fin_wait2);
        self.overflow.add_all(&other.overflow);
        self.reset_sent.add_all(&other.reset_sent);
        self.reset_received.add_all(&other.reset_received);
        self.abort.add_all(&other.abort);
        self.ended.add_all(&other.ended);
    }

    /// Removes the kinds that are not shown.
    pub fn keep_only(&mut self, is_shown: impl Fn(EventKind) -> bool) {
        if !is_shown(EventKind::TimeWait) {
            self.time_wait = CountsBy::default();
            self.fin_wait2 = CountsBy::default();
        }
        if !is_shown(EventKind::TimeWaitOverflow) {
            self.overflow = CountsBy::default();
        }
        if !is_shown(EventKind::Reset) {
            self.reset_sent = CountsBy::default();
            self.reset_received = CountsBy::default();
        }
        if !is_shown(EventKind::Abort) {
            self.abort = CountsBy::default();
        }
        if !is_shown(EventKind::TimeWaitEnd) {
            self.ended = CountsBy::default();
        }
    }

    /// RSTs sent and received.
    pub fn resets(&self) -> u64 {
        self.reset_sent.total() + self.reset_received.total()
    }

    /// Whether anything was counted that tables of processes show: all but ends.
    pub fn has_shown(&self) -> bool {
        let ended = CountsBy::default();
        !Self {
            ended,
            ..self.clone()
        }
        .is_empty()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Connections that did not end by FIN, by reason.
#[derive(schemars::JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Deaths {
    /// RSTs sent.
    pub reset_sent: CountsBy<ResetReason, { ResetReason::COUNT }>,
    /// RSTs received.
    pub reset_received: CountsBy<ResetReason, { ResetReason::COUNT }>,
    /// Connections that ended without RST.
    pub abort: CountsBy<AbortReason, { AbortReason::COUNT }>,
}

impl Nothing for Deaths {
    const NOTHING: &'static Self = &Self {
        reset_sent: CountsBy::new([0; ResetReason::COUNT]),
        reset_received: CountsBy::new([0; ResetReason::COUNT]),
        abort: CountsBy::new([0; AbortReason::COUNT]),
    };

    fn is_nothing(&self) -> bool {
        self == Self::NOTHING
    }
}

impl Deaths {
    /// Adds another's numbers.
    pub fn add_all(&mut self, other: &Self) {
        self.reset_sent.add_all(&other.reset_sent);
        self.reset_received.add_all(&other.reset_received);
        self.abort.add_all(&other.abort);
    }

    /// Removes the kinds of events that are not shown.
    pub fn keep_only(&mut self, is_shown: impl Fn(EventKind) -> bool) {
        if !is_shown(EventKind::Reset) {
            self.reset_sent = CountsBy::default();
            self.reset_received = CountsBy::default();
        }
        if !is_shown(EventKind::Abort) {
            self.abort = CountsBy::default();
        }
    }

    /// From all counts.
    pub fn of(counts: &Counts) -> Self {
        Self {
            reset_sent: counts.reset_sent,
            reset_received: counts.reset_received,
            abort: counts.abort,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn events_are_counted_where_they_belong() {
        let mut counts = Counts::default();
        assert!(counts.is_empty());
        counts.add(&samples::time_wait());
        counts.add(&samples::reset());
        counts.add(&samples::abort());
        counts.add(&samples::port_alloc());
        counts.add(&samples::time_wait_end());
        let mut refused = samples::time_wait();
        refused.event = EventKind::TimeWaitOverflow;
        counts.add(&refused);
        assert_eq!(counts.time_wait.of(Side::Client), 1);
        assert_eq!(counts.fin_wait2.of(Side::Client), 1);
        assert_eq!(counts.overflow.of(Side::Client), 1);
        assert_eq!(counts.reset_sent.of(ResetReason::LingerZero), 1);
        assert_eq!(counts.abort.of(AbortReason::Timeout), 1);
        assert_eq!(counts.ended.of(EndCause::ReusedByConnect), 1);
        assert_eq!(counts.resets(), 1);
        assert_eq!(
            serde_json::to_string(&counts.reset_sent).unwrap(),
            r#"{"linger_zero":1}"#
        );
        let mut twice = counts.clone();
        twice.add_all(&counts);
        assert_eq!(twice.time_wait.total(), 2);
        twice.keep_only(|kind| kind == EventKind::Abort);
        assert_eq!((twice.time_wait.total(), twice.abort.total()), (0, 2));
    }
}
