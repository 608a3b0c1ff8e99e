//! What the RSTs of one pair have in common: their times, and who was at the other end.

pub mod both_ends;
pub mod spread;

use std::sync::Arc;

use twtrace_wire::{ResetDirection, ResetReason, Side, TcpState, Unattributed};

use crate::event::{Event, Process, Reset};
use spread::Spread;

use super::sparse::Nothing;

/// Maximum number of other ends that a pattern names.
const MAX_OTHER_ENDS: usize = 8;

/// RSTs of one pair by direction and reason: at most one entry for each of both.
#[derive(Clone, Debug, Default)]
pub struct ResetPatterns(Vec<ResetPattern>);

/// RSTs of one direction and reason.
#[derive(Clone, Debug)]
pub struct ResetPattern {
    /// Sent or received.
    pub direction: ResetDirection,
    /// The reason.
    pub reason: ResetReason,
    /// Number of RSTs.
    pub count: u64,
    /// Ages of the connections.
    pub age: Spread,
    /// How long they were quiet before: for data after close, from this end's last data to its close; for others, since
    /// the last data of either end, without the data that the RST answers.
    pub quiet: Spread,
    /// For data after close: from the close to the data.
    pub after_close: Spread,
    /// Received in CLOSE_WAIT: the peer had closed before.
    pub after_fin: u64,
    /// Received after this end had closed: nothing that it waited for was lost.
    pub after_own_close: u64,
    /// Sent by a listener, for a connection that it did not take.
    pub of_listener: u64,
    /// Those of connections on which this end had sent nothing.
    pub unanswered: u64,
    /// Those of connections whose both ends have the same address, or a loopback address: the peer is in the same
    /// network namespace.
    pub same_host: u64,
    /// CLOCK_MONOTONIC of the first and the last, nanoseconds.
    pub seen_ns: Option<(u64, u64)>,
    /// RSTs whose other end was seen on this host.
    pub matched: u64,
    /// RSTs sent that were received on this host before the other end had closed.
    pub met_open: u64,
    /// Who was there, as far as there is room.
    pub other_ends: Vec<OtherEnd>,
}

/// Who was at the other end of RSTs.
#[derive(Clone, Debug)]
pub struct OtherEnd {
    /// The process.
    pub process: Option<Arc<Process>>,
    /// Why there is none.
    pub unattributed: Option<Unattributed>,
    /// Which end it is.
    pub side: Side,
    /// Why it sent, or what it made of what it received.
    pub reason: ResetReason,
    /// Whether it is the listener itself that sent.
    pub is_listener: bool,
    /// Whether it received the RST before it had closed.
    pub is_open: bool,
    /// Number of RSTs.
    pub count: u64,
}

impl Nothing for ResetPatterns {
    const NOTHING: &'static Self = &Self(Vec::new());

    fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }
}

impl ResetPatterns {
    /// Counts a RST.
    pub fn add(&mut self, event: &Event, reset: &Reset) {
        self.entry(reset.direction, reset.reason).add(event, reset);
    }

    /// Adds another's.
    pub fn add_all(&mut self, other: &Self) {
        for pattern in &other.0 {
            self.entry(pattern.direction, pattern.reason)
                .add_all(pattern);
        }
    }

    /// Notes who was at the other end of a RST that is counted.
    pub fn met(&mut self, direction: ResetDirection, reason: ResetReason, other: OtherEnd) {
        let pattern = self.entry(direction, reason);
        pattern.matched += other.count;
        if other.is_open {
            pattern.met_open += other.count;
        }
        pattern.name(other);
    }

    /// The pattern of a direction and reason, if there are such RSTs.
    pub fn of(&self, direction: ResetDirection, reason: ResetReason) -> Option<&ResetPattern> {
        let mut patterns = self.0.iter();
        patterns.find(|it| it.direction == direction && it.reason == reason)
    }

    /// As if both ends were in one namespace.
    #[cfg(test)]
    pub fn set_same_host(&mut self) {
        for pattern in &mut self.0 {
            pattern.same_host = pattern.count;
        }
    }

    /// As if this end had sent nothing.
    #[cfg(test)]
    pub fn set_unanswered(&mut self) {
        for pattern in &mut self.0 {
            pattern.unanswered = pattern.count;
        }
    }

    fn entry(&mut self, direction: ResetDirection, reason: ResetReason) -> &mut ResetPattern {
        let mut patterns = self.0.iter();
        let known = patterns.position(|it| it.direction == direction && it.reason == reason);
        let index = known.unwrap_or_else(|| {
            self.0.push(ResetPattern::new(direction, reason));
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}

impl ResetPattern {
    fn new(direction: ResetDirection, reason: ResetReason) -> Self {
        Self {
            direction,
            reason,
            count: 0,
            age: Spread::default(),
            quiet: Spread::default(),
            after_close: Spread::default(),
            after_fin: 0,
            after_own_close: 0,
            of_listener: 0,
            unanswered: 0,
            same_host: 0,
            seen_ns: None,
            matched: 0,
            met_open: 0,
            other_ends: Vec::new(),
        }
    }

    /// Received RSTs that are no loss of this end's: their sender is on this host, and they are a matter of its, or this
    /// end had closed. At most all of them, since some may be both.
    pub fn settled(&self) -> u64 {
        self.matched
            .saturating_add(self.after_own_close)
            .min(self.count)
    }

    fn add(&mut self, event: &Event, reset: &Reset) {
        self.count += 1;
        if let Some(age_ns) = reset.flow.connection_ns {
            self.age.add(age_ns);
        }
        let quiet_ns = match (reset.reason, reset.after_close_ns) {
            (ResetReason::DataAfterClose, after_ns) => reset
                .flow
                .send_idle_ns
                .zip(after_ns)
                .map(|(idle_ns, after_ns)| idle_ns.saturating_sub(after_ns)),
            _ => reset.flow.idle_ns,
        };
        if let Some(quiet_ns) = quiet_ns {
            self.quiet.add(quiet_ns);
        }
        if let Some(after_ns) = reset.after_close_ns {
            self.after_close.add(after_ns);
        }
        let is_received = reset.direction == ResetDirection::Received;
        self.after_fin += u64::from(is_received && reset.state == Some(TcpState::CloseWait));
        self.after_own_close += u64::from(is_received && is_after_own_close(reset.state));
        self.of_listener += u64::from(is_of_listener(reset));
        self.unanswered += u64::from(reset.flow.bytes_sent == Some(0));
        let is_same_host = event
            .local
            .zip(event.remote)
            .is_some_and(|(local, remote)| {
                remote.ip().to_canonical().is_loopback() || local.ip() == remote.ip()
            });
        self.same_host += u64::from(is_same_host);
        let (first_ns, last_ns) = self.seen_ns.unwrap_or((event.mono_ns, event.mono_ns));
        self.seen_ns = Some((first_ns.min(event.mono_ns), last_ns.max(event.mono_ns)));
    }

    fn add_all(&mut self, other: &Self) {
        self.count += other.count;
        self.age.add_all(&other.age);
        self.quiet.add_all(&other.quiet);
        self.after_close.add_all(&other.after_close);
        self.after_fin += other.after_fin;
        self.after_own_close += other.after_own_close;
        self.of_listener += other.of_listener;
        self.unanswered += other.unanswered;
        self.same_host += other.same_host;
        self.matched += other.matched;
        self.met_open += other.met_open;
        self.seen_ns = match (self.seen_ns, other.seen_ns) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
        for end in &other.other_ends {
            self.name(end.clone());
        }
    }

    fn name(&mut self, other: OtherEnd) {
        let known = self.other_ends.iter().position(|end| end.is_of(&other));
        match known {
            Some(index) => self.other_ends[index].count += other.count,
            None if self.other_ends.len() < MAX_OTHER_ENDS => self.other_ends.push(other),
            None => {}
        }
    }
}

impl OtherEnd {
    /// The end of a RST that is counted there.
    fn is_of(&self, other: &Self) -> bool {
        let key = |end: &Self| end.process.as_ref().map(|process| process.key);
        (
            key(self),
            self.unattributed,
            self.side,
            self.reason,
            self.is_listener,
        ) == (
            key(other),
            other.unattributed,
            other.side,
            other.reason,
            other.is_listener,
        )
    }
}

/// Whether this end had closed when it received a RST in that state.
fn is_after_own_close(state: Option<TcpState>) -> bool {
    matches!(
        state,
        Some(TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck)
    )
}

/// Whether a RST was received before this end had closed.
pub fn is_received_open(reset: &Reset) -> bool {
    reset.direction == ResetDirection::Received
        && matches!(
            reset.state,
            Some(TcpState::Established | TcpState::CloseWait)
        )
}

/// Whether a listener sent it itself: a full accept queue with tcp_abort_on_overflow, or a segment of no connection.
pub fn is_of_listener(reset: &Reset) -> bool {
    reset.direction == ResetDirection::Sent
        && matches!(reset.state, Some(TcpState::Listen | TcpState::NewSynRecv))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventFacts;
    use crate::event::samples;

    fn reset(change: impl FnOnce(&mut Reset)) -> Event {
        let mut event = samples::reset();
        if let EventFacts::Reset(facts) = &mut event.facts {
            change(facts);
        }
        event
    }

    #[test]
    fn quiet_ends_with_the_close_where_data_came_too_late() {
        let mut patterns = ResetPatterns::default();
        let event = reset(|facts| {
            facts.reason = ResetReason::DataAfterClose;
            facts.flow.send_idle_ns = Some(1_004_000_000);
            facts.after_close_ns = Some(4_000_000);
        });
        let EventFacts::Reset(facts) = &event.facts else {
            panic!("a RST");
        };
        patterns.add(&event, facts);
        patterns.add(&event, facts);
        let pattern = patterns
            .of(ResetDirection::Sent, ResetReason::DataAfterClose)
            .unwrap();
        assert_eq!(pattern.quiet.most().unwrap().max_ns, 1_000_000_000);
        assert_eq!((pattern.count, pattern.after_close.count()), (2, 2));
        let mut sum = ResetPatterns::default();
        sum.add_all(&patterns);
        sum.add_all(&patterns);
        assert_eq!(
            sum.of(ResetDirection::Sent, ResetReason::DataAfterClose)
                .unwrap()
                .quiet
                .most()
                .unwrap()
                .count,
            4
        );
    }
}
