//! What the RSTs of one pair have in common: their times, and who was at the other end.

mod accept;
pub mod both_ends;
pub mod closings;
pub mod just_reset;
pub mod left;
pub mod outage;
pub mod spread;
mod unread;

use std::sync::Arc;

use twtrace_wire::{ResetDirection, ResetReason, Side, TcpState, Unattributed};

use crate::event::{Event, Moment, Process, Reset};
use accept::Answer;
use left::PassedOn;
use spread::Spread;

use super::moments::Moments;
use super::sparse::Nothing;

/// Maximum number of other ends that a pattern names.
const MAX_OTHER_ENDS: usize = 8;
/// From this length on, nanoseconds, a pause may be a timeout, and not only the work of a program.
pub const PAUSE_NS: u64 = 100_000_000;

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
    /// Sent by a server that closed at once after the handshake, without an answer to its client's first data: it sent nothing,
    /// or no more than a line before that came.
    pub right_after_accept: u64,
    /// The same where the line that it sent may be an answer.
    pub answered_at_once: u64,
    /// For unread data, sent on connections that had been quiet since this end's last data until the unread data came: for how
    /// long.
    pub pause: Spread,
    /// Sent on connections on which this end had sent data [`PAUSE_NS`] before or longer, and nothing had come since: how long
    /// before.
    pub awaited: Spread,
    /// Sent on connections on which this end had sent data, and nothing had ever come.
    pub never_answered: u64,
    /// Sent on connections on which data of the peer had come since this end last sent.
    pub answer_begun: u64,
    /// Sent on connections of clients just after the same process had received a RST on a connection that it serves.
    pub passed_on: u64,
    /// How many of `passed_on` may be chance, in thousandths of one.
    pub passed_by_chance: u64,
    /// Sent RSTs whose unread or late data has the size of a TLS closing alert.
    pub of_alert_size: u64,
    /// The same with another size: data that matters to the peer.
    pub of_other_size: u64,
    /// For unread data of clients: the server had closed, and its last data had come after a pause, as a TLS server's closing
    /// alert does on an idle connection.
    pub unread_after_idle_close: u64,
    /// When they were sent or received.
    pub at: Moments,
    /// Sent for no connection, or for another reason, to a segment of a connection that a RST has just ended: what was on its way.
    pub echoes: u64,
    /// The first and the last.
    pub seen: Option<(Moment, Moment)>,
    /// RSTs whose other end was seen on this host.
    pub matched: u64,
    /// RSTs received on an established connection that this host's kernel sent, as no socket had its addresses: nobody has ended
    /// that connection.
    pub from_no_socket: u64,
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
    /// Whether it received the RST before either end had closed.
    pub is_established: bool,
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
    pub fn met(
        &mut self,
        (direction, reason): (ResetDirection, ResetReason),
        here: &OtherEnd,
        other: OtherEnd,
    ) {
        let pattern = self.entry(direction, reason);
        pattern.matched += other.count;
        if here.is_established && other.unattributed == Some(Unattributed::NoSocket) {
            pattern.from_no_socket += other.count;
        }
        if other.is_open {
            pattern.met_open += other.count;
        }
        pattern.name(other);
    }

    /// Notes that a RST that is counted answers what was on its way on a connection that a RST had ended.
    pub fn echo(&mut self, reason: ResetReason) {
        self.entry(ResetDirection::Sent, reason).echoes += 1;
    }

    /// Notes that a RST that is counted followed one that the process received from its own client.
    pub fn pass_on(&mut self, reason: ResetReason, passed: PassedOn) {
        let pattern = self.entry(ResetDirection::Sent, reason);
        pattern.passed_on += 1;
        pattern.passed_by_chance += passed.by_chance;
    }

    /// RSTs that listeners sent: for connections that they did not take, or that had ended.
    pub fn of_listeners(&self) -> u64 {
        self.0.iter().map(|pattern| pattern.of_listener).sum()
    }

    /// RSTs sent on connections that this end had not closed before and received by a full socket on this host, as far as
    /// known.
    pub fn received_here(&self) -> u64 {
        let sent = self.0.iter().filter(|it| {
            it.direction == ResetDirection::Sent && it.reason != ResetReason::DataAfterClose
        });
        sent.map(|it| it.matched.saturating_sub(it.of_listener))
            .sum()
    }

    /// A number of the RSTs that were sent for a reason; 0 if there are none.
    pub fn of_sent(&self, reason: ResetReason, number: impl Fn(&ResetPattern) -> u64) -> u64 {
        self.of(ResetDirection::Sent, reason).map_or(0, number)
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
            right_after_accept: 0,
            answered_at_once: 0,
            pause: Spread::default(),
            awaited: Spread::default(),
            never_answered: 0,
            answer_begun: 0,
            at: Moments::NONE,
            passed_on: 0,
            passed_by_chance: 0,
            of_alert_size: 0,
            of_other_size: 0,
            unread_after_idle_close: 0,
            seen: None,
            matched: 0,
            met_open: 0,
            from_no_socket: 0,
            echoes: 0,
            other_ends: Vec::new(),
        }
    }

    /// Received RSTs that are no loss of this end's: their sender is on this host, and they are a matter of its, or this
    /// end had closed. At most all of them, since some may be both.
    pub fn settled(&self) -> u64 {
        let settled = self.matched.saturating_add(self.after_own_close);
        let at_most = self.count.saturating_sub(self.from_no_socket);
        settled.saturating_sub(self.from_no_socket).min(at_most)
    }

    fn add(&mut self, event: &Event, reset: &Reset) {
        self.count += 1;
        self.at.add(event.mono_ns);
        if let Some(age_ns) = reset.flow.connection_ns {
            self.age.add(age_ns);
        }
        if let Some(quiet_ns) = quiet_ns(reset) {
            self.quiet.add(quiet_ns);
        }
        if reset.direction == ResetDirection::Sent {
            self.add_sent(event.side, reset);
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
        let at = Moment {
            ts: event.ts,
            mono_ns: event.mono_ns,
        };
        self.see((at, at));
    }

    fn add_sent(&mut self, side: Side, reset: &Reset) {
        let flow = &reset.flow;
        let of_server = side == Side::Server;
        self.add_unread(reset.unread_bytes);
        match accept::closed_at_once(reset).filter(|_| of_server) {
            Some(Answer::None) => self.right_after_accept += 1,
            Some(Answer::Possible) => self.answered_at_once += 1,
            None => {}
        }
        if reset.reason == ResetReason::UnreadData
            && let (Some(sent_ns), Some(idle_ns)) = (flow.send_idle_ns, flow.idle_ns)
            && sent_ns.saturating_sub(idle_ns) >= PAUSE_NS
        {
            if of_server && flow.bytes_sent.is_some_and(|bytes| bytes > 0) {
                self.pause.add(sent_ns - idle_ns);
            }
            let is_closed = reset.state == Some(TcpState::CloseWait);
            self.unread_after_idle_close += u64::from(side == Side::Client && is_closed);
        }
        let has_sent = flow.bytes_sent.is_some_and(|bytes| bytes > 0);
        let awaits = has_sent && flow.bytes_received == Some(0);
        self.never_answered += u64::from(awaits);
        if let Some(quiet_ns) = quiet_ns(reset)
            && quiet_ns >= PAUSE_NS
            && (awaits || flow.awaits_answer == Some(true))
        {
            self.awaited.add(quiet_ns);
        }
        self.answer_begun += u64::from(flow.idle_ns.is_some() && flow.idle_ns < flow.send_idle_ns);
    }

    fn see(&mut self, seen: (Moment, Moment)) {
        let (first, last) = self.seen.unwrap_or(seen);
        let earlier = |one: Moment, two: Moment| if one.mono_ns <= two.mono_ns { one } else { two };
        let later = |one: Moment, two: Moment| if one.mono_ns >= two.mono_ns { one } else { two };
        self.seen = Some((earlier(first, seen.0), later(last, seen.1)));
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
        self.from_no_socket += other.from_no_socket;
        self.echoes += other.echoes;
        self.right_after_accept += other.right_after_accept;
        self.answered_at_once += other.answered_at_once;
        self.of_alert_size += other.of_alert_size;
        self.of_other_size += other.of_other_size;
        self.passed_by_chance += other.passed_by_chance;
        self.unread_after_idle_close += other.unread_after_idle_close;
        self.pause.add_all(&other.pause);
        self.awaited.add_all(&other.awaited);
        self.never_answered += other.never_answered;
        self.answer_begun += other.answer_begun;
        self.at.add_all(&other.at);
        self.passed_on += other.passed_on;
        if let Some(seen) = other.seen {
            self.see(seen);
        }
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

/// How long a connection was quiet before a RST: see [`ResetPattern::quiet`].
fn quiet_ns(reset: &Reset) -> Option<u64> {
    match (reset.reason, reset.after_close_ns) {
        (ResetReason::DataAfterClose, after_ns) => reset
            .flow
            .send_idle_ns
            .zip(after_ns)
            .map(|(idle_ns, after_ns)| idle_ns.saturating_sub(after_ns)),
        _ => reset.flow.idle_ns,
    }
}

/// When a process closed a connection that then sent a RST, CLOCK_MONOTONIC in nanoseconds.
pub fn closed_ns(event: &Event, reset: &Reset) -> u64 {
    let after_ns = reset.after_close_ns.unwrap_or(0);
    event.mono_ns.saturating_sub(after_ns)
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

/// Whether a RST was received before either end had closed.
pub fn is_received_established(reset: &Reset) -> bool {
    reset.direction == ResetDirection::Received && reset.state == Some(TcpState::Established)
}

/// Whether a listener sent it itself: a full accept queue with tcp_abort_on_overflow, or a segment of no connection.
pub fn is_of_listener(reset: &Reset) -> bool {
    reset.direction == ResetDirection::Sent
        && matches!(reset.state, Some(TcpState::Listen | TcpState::NewSynRecv))
}

#[cfg(test)]
#[path = "patterns_tests.rs"]
mod tests;
