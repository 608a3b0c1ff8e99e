//! Connections that one process closed within a moment: a program that stops closes all it has at once.

use crate::event::{Event, EventFacts, Flow, Reset};
use crate::model::sparse::Nothing;
use twtrace_wire::{ResetDirection, ResetReason, TcpState};

/// Closings from the first to the last of a moment, nanoseconds: exit() with thousands of connections takes some tenths
/// of a second on a slow machine.
const MOMENT_NS: u64 = 250_000_000;

/// Connections that were open at the same time, and that one process closed within a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClosedAtOnce {
    /// CLOCK_MONOTONIC of the first and the last closing, nanoseconds.
    pub first_ns: u64,
    /// See `first_ns`.
    pub last_ns: u64,
    /// Those that ended by a RST of this end.
    pub resets: u64,
    /// Those of `resets` whose data came after the close: most of them also had a TIME_WAIT.
    pub late: u64,
    /// Those of `resets` that no process had accepted, or that were disconnected.
    pub aborted: u64,
    /// Those of `resets` that were closed with SO_LINGER 0.
    pub lingers: u64,
    /// Those with a TIME_WAIT.
    pub time_waits: u64,
    /// Those of `time_waits` whose peer had sent the last data: a request without an answer.
    pub unanswered: u64,
    /// The shortest and the longest time without data before the close, nanoseconds.
    pub idle_ns: Option<(u64, u64)>,
    /// When the latest of them was established, CLOCK_MONOTONIC in nanoseconds; 0 if that is not known, or does not matter.
    began_ns: u64,
}

/// The latest moment, and the earlier one with the most RSTs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closings {
    latest: ClosedAtOnce,
    greatest: ClosedAtOnce,
    /// The first closing after `greatest`, CLOCK_MONOTONIC in nanoseconds; 0 if that is not known.
    next_ns: u64,
    /// All moments before the latest that had several RSTs.
    before: Several,
}

/// Moments with [`SEVERAL`] RSTs or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Several {
    /// How many moments.
    pub moments: u64,
    /// Their RSTs, without those of data that came after the next moment.
    pub resets: u64,
}

/// So many RSTs within a moment are none of one connection each.
const SEVERAL: u64 = 5;

/// One closing.
struct Closing {
    at_ns: u64,
    /// When the connection was established; 0 if that was before tracing, or does not matter.
    began_ns: u64,
    idle_ns: Option<u64>,
    reset: Option<ResetReason>,
    is_unanswered: bool,
}

impl Nothing for Closings {
    const NOTHING: &'static Self = &Self {
        latest: ClosedAtOnce::NONE,
        greatest: ClosedAtOnce::NONE,
        next_ns: 0,
        before: Several {
            moments: 0,
            resets: 0,
        },
    };

    fn is_nothing(&self) -> bool {
        self == Self::NOTHING
    }
}

impl Closing {
    fn of(event: &Event) -> Option<Self> {
        let closing = |flow: &Flow, after_ns: u64, idle_ns, reset| {
            let at_ns = event.mono_ns.saturating_sub(after_ns);
            let age_ns = flow
                .connection_ns
                .map(|age_ns| age_ns.saturating_sub(after_ns));
            Self {
                at_ns,
                began_ns: match (reset, age_ns) {
                    // Clients that connect again while a server ends wait in the queue of its listener.
                    (Some(ResetReason::Aborted), _) | (_, None) => 0,
                    (_, Some(age_ns)) => at_ns.saturating_sub(age_ns),
                },
                idle_ns,
                reset,
                is_unanswered: flow.idle_ns < flow.send_idle_ns && flow.idle_ns.is_some(),
            }
        };
        match &event.facts {
            EventFacts::TimeWait(facts) => Some(closing(&facts.flow, 0, facts.flow.idle_ns, None)),
            EventFacts::Reset(facts) if is_closing(facts) => Some(closing(
                &facts.flow,
                facts.after_close_ns.unwrap_or(0),
                super::quiet_ns(facts),
                Some(facts.reason),
            )),
            _ => None,
        }
    }
}

/// Whether a RST was sent because a process closed.
fn is_closing(reset: &Reset) -> bool {
    reset.direction == ResetDirection::Sent
        && !matches!(reset.state, Some(TcpState::Listen | TcpState::NewSynRecv))
        && matches!(
            reset.reason,
            ResetReason::UnreadData
                | ResetReason::DataAfterClose
                | ResetReason::LingerZero
                | ResetReason::Aborted
        )
}

impl ClosedAtOnce {
    const NONE: Self = Self {
        first_ns: 0,
        last_ns: 0,
        resets: 0,
        late: 0,
        aborted: 0,
        lingers: 0,
        time_waits: 0,
        unanswered: 0,
        idle_ns: None,
        began_ns: 0,
    };

    /// Number of RSTs for a reason.
    pub fn of(&self, reason: ResetReason) -> u64 {
        match reason {
            ResetReason::DataAfterClose => self.late,
            ResetReason::Aborted => self.aborted,
            ResetReason::LingerZero => self.lingers,
            ResetReason::UnreadData => self.resets - self.late - self.aborted - self.lingers,
            _ => 0,
        }
    }

    /// How great it is: RSTs, then connections.
    fn size(&self) -> (u64, u64) {
        (self.resets, self.connections())
    }

    /// Whether all connections of both were open when the first one was closed.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.began_ns.max(other.began_ns) < self.first_ns.min(other.first_ns)
    }

    /// Number of connections.
    pub fn connections(&self) -> u64 {
        self.resets - self.late + self.late.max(self.time_waits)
    }

    /// Number of requests that were lost, as far as that is known.
    pub fn lost(&self) -> u64 {
        (self.resets + self.unanswered).min(self.connections())
    }

    /// How long the closings took, nanoseconds.
    pub fn length_ns(&self) -> u64 {
        self.last_ns - self.first_ns
    }

    /// Whether the times without data differ by so much that no timeout has closed the connections. One that is checked
    /// about once a second closes within a second after it.
    pub fn is_no_timeout(&self) -> bool {
        const SOON_NS: u64 = 500_000_000;
        const LONG_NS: u64 = 100_000_000;
        self.idle_ns.is_some_and(|(min_ns, max_ns)| {
            let apart_ns = max_ns - min_ns;
            max_ns >= LONG_NS
                && max_ns / 2 > min_ns
                && (min_ns < SOON_NS || apart_ns > super::spread::SWEEP_NS)
        })
    }

    /// Takes a closing of a connection that was open when the first one was closed. False if it is of another moment.
    fn takes(&mut self, closing: &Closing) -> bool {
        if self.first_ns == 0 {
            return false;
        }
        let first_ns = self.first_ns.min(closing.at_ns);
        let last_ns = self.last_ns.max(closing.at_ns);
        let began_ns = self.began_ns.max(closing.began_ns);
        if last_ns - first_ns > MOMENT_NS || began_ns >= first_ns {
            return false;
        }
        (self.first_ns, self.last_ns) = (first_ns, last_ns);
        self.count(closing);
        true
    }

    fn count(&mut self, closing: &Closing) {
        self.began_ns = self.began_ns.max(closing.began_ns);
        match closing.reset {
            Some(reason) => {
                self.resets += 1;
                self.late += u64::from(reason == ResetReason::DataAfterClose);
                self.aborted += u64::from(reason == ResetReason::Aborted);
                self.lingers += u64::from(reason == ResetReason::LingerZero);
            }
            None => {
                self.time_waits += 1;
                self.unanswered += u64::from(closing.is_unanswered);
            }
        }
        if let Some(idle_ns) = closing.idle_ns {
            let (min_ns, max_ns) = self.idle_ns.unwrap_or((idle_ns, idle_ns));
            self.idle_ns = Some((min_ns.min(idle_ns), max_ns.max(idle_ns)));
        }
    }

    /// Adds what another process closed within the same moment.
    pub fn join(&mut self, other: &Self) {
        if self.first_ns == 0 {
            *self = *other;
            return;
        }
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.resets += other.resets;
        self.late += other.late;
        self.aborted += other.aborted;
        self.lingers += other.lingers;
        self.began_ns = self.began_ns.max(other.began_ns);
        self.time_waits += other.time_waits;
        self.unanswered += other.unanswered;
        self.idle_ns = match (self.idle_ns, other.idle_ns) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
    }
}

impl Closings {
    /// Counts an event, if a process closed a connection.
    pub fn add(&mut self, event: &Event) {
        let Some(closing) = Closing::of(event) else {
            return;
        };
        if self.latest.takes(&closing) || self.greatest.takes(&closing) {
            return;
        }
        // Data that came late belongs to an earlier moment, which was not kept.
        if closing.at_ns < self.latest.last_ns {
            return;
        }
        if self.latest.size() > self.greatest.size() {
            self.greatest = self.latest;
            self.next_ns = closing.at_ns;
        }
        if self.latest.resets >= SEVERAL {
            self.before.moments += 1;
            self.before.resets += self.latest.resets;
        }
        self.latest = ClosedAtOnce {
            first_ns: closing.at_ns,
            last_ns: closing.at_ns,
            ..ClosedAtOnce::NONE
        };
        self.latest.count(&closing);
    }

    /// Adds another's: the two are not of one process, so the greater one counts. What was closed after it is then not known.
    pub fn add_all(&mut self, other: &Self) {
        if self.is_nothing() {
            *self = *other;
            return;
        }
        self.next_ns = 0;
        self.before.moments += other.before.moments;
        self.before.resets += other.before.resets;
        for moment in [other.greatest, other.latest] {
            if moment.last_ns > self.latest.last_ns {
                if self.latest.size() > self.greatest.size() {
                    self.greatest = self.latest;
                }
                self.latest = moment;
            } else if moment.size() > self.greatest.size() {
                self.greatest = moment;
            }
        }
    }

    /// All moments with several RSTs: each of them may have a cause of its own, and none is a timeout of one connection.
    pub fn several(&self) -> Several {
        let is_latest = u64::from(self.latest.resets >= SEVERAL);
        Several {
            moments: self.before.moments + is_latest,
            resets: self.before.resets + is_latest * self.latest.resets,
        }
    }

    /// The moment with the most RSTs, and whether nothing was closed after it. If its process was seen to have exited at
    /// `exited_ns`, a later end of a connection is no later close: its FIN waited for the peer.
    pub fn most(&self, exited_ns: Option<u64>) -> (ClosedAtOnce, bool) {
        let is_after_exit = exited_ns.is_some_and(|at_ns| self.latest.first_ns > at_ns);
        match is_after_exit || self.greatest.size() > self.latest.size() {
            true => {
                let was_last = exited_ns.is_some_and(|at_ns| self.next_ns > at_ns);
                (self.greatest, was_last)
            }
            false => (self.latest, true),
        }
    }
}

#[cfg(test)]
#[path = "closings_tests.rs"]
mod tests;
