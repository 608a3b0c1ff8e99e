//! Connections of one pair that this end closed first, by FIN, while one end awaited an answer of the other.

use twtrace_wire::Side;

use super::moments::Moments;
use super::resets::PAUSE_NS;
use super::resets::spread::Spread;
use super::sparse::Nothing;
use crate::event::{Event, Flow, TimeWait};

/// A server that turns a connection away closes it within this time after the handshake, nanoseconds.
const TURNED_AWAY_NS: u64 = 2_000_000_000;
/// It says why in a line, bytes.
const LINE_BYTES: u64 = 512;
/// Or it asks who the client is, and then says why, bytes. The beginning of a session of PostgreSQL is longer.
const REFUSAL_BYTES: u64 = 300;

/// Those of one pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// Number of connections. Of clients: they had sent a request, and waited for [`PAUSE_NS`] or longer. Of servers: they had
    /// sent nothing at all, or nothing since their client's last data, for that time.
    pub count: u64,
    /// Those of them on which no data had ever come from the server.
    pub never: u64,
    /// How long the request had waited.
    pub waited: Spread,
    /// When they were closed.
    pub at: Moments,
    /// Others of servers, that had been answered before, and whose last request came just before the close: a request that was lost,
    /// or a last word of the client, as memcached's `quit`.
    pub soon: u64,
    /// When those were closed.
    pub soon_at: Moments,
    /// Others of clients, that had sent something and closed at once, without having received anything.
    pub at_once: u64,
    /// Others, that a server closed right after the handshake, having sent a line before anything had come.
    pub turned_away: u64,
    /// The same where something had come before: a line that says why, or a short answer.
    pub answered_shortly: u64,
}

impl Nothing for Unanswered {
    const NOTHING: &'static Self = &Self {
        count: 0,
        never: 0,
        waited: Spread::NONE,
        at: Moments::NONE,
        soon: 0,
        soon_at: Moments::NONE,
        at_once: 0,
        turned_away: 0,
        answered_shortly: 0,
    };

    fn is_nothing(&self) -> bool {
        self.count + self.soon + self.at_once + self.turned_away + self.answered_shortly == 0
    }
}

/// Whether a client sent something, and closed at once without having received anything.
fn is_at_once(side: Side, flow: &Flow) -> bool {
    side == Side::Client
        && flow.bytes_sent.is_some_and(|sent| sent > 0)
        && flow.bytes_received == Some(0)
        && flow.idle_ns.is_some_and(|ns| ns < PAUSE_NS)
}

/// Whether a server closed just after data of its client, having answered earlier.
fn is_soon(side: Side, flow: &Flow) -> bool {
    side == Side::Server
        && flow.bytes_sent.is_some_and(|sent| sent > 0)
        && flow
            .idle_ns
            .is_some_and(|ns| ns < PAUSE_NS && flow.send_idle_ns.is_some_and(|sent| ns < sent))
}

/// Whether a server closed right after the handshake, having sent no more than a line.
fn is_short(side: Side, flow: &Flow) -> bool {
    side == Side::Server
        && flow.connection_ns.is_some_and(|ns| ns <= TURNED_AWAY_NS)
        && flow.bytes_sent.is_some_and(|sent| {
            let most = match flow.bytes_received {
                Some(0) => LINE_BYTES,
                _ => REFUSAL_BYTES,
            };
            (1..=most).contains(&sent)
        })
}

/// A connection that was closed while a request waited for its answer.
struct Waiting {
    /// How long, nanoseconds.
    for_ns: u64,
    /// Whether no data had ever come from the server.
    never: bool,
}

impl Waiting {
    fn of(side: Side, flow: &Flow) -> Option<Self> {
        let for_ns = flow.idle_ns?;
        let is_pause = for_ns >= PAUSE_NS;
        let (asked, answered) = match side {
            Side::Client => (flow.bytes_sent?, flow.bytes_received?),
            Side::Server => (flow.bytes_received?, flow.bytes_sent?),
            Side::Unknown => return None,
        };
        let never = answered == 0;
        let waits = match side {
            // A client that sends and closes at once wants no answer.
            Side::Client => is_pause && (never || flow.awaits_answer == Some(true)),
            _ => never || is_pause && flow.send_idle_ns.is_some_and(|sent| for_ns < sent),
        };
        (asked > 0 && waits).then_some(Self { for_ns, never })
    }
}

/// Whether [`Unanswered`] counts a connection that was closed first.
pub fn is_counted(side: Side, closed: &TimeWait) -> bool {
    let flow = &closed.flow;
    is_unanswered(side, closed)
        || is_short(side, flow)
        || is_at_once(side, flow)
        || is_soon(side, flow)
}

/// Whether this end closed a connection while a request waited for its answer: [`Unanswered::count`].
pub fn is_unanswered(side: Side, closed: &TimeWait) -> bool {
    Waiting::of(side, &closed.flow).is_some()
}

impl Unanswered {
    /// Counts a connection that was closed first, if it is one of these.
    pub fn add(&mut self, event: &Event, closed: &TimeWait) {
        let flow = &closed.flow;
        let Some(waiting) = Waiting::of(event.side, flow) else {
            self.at_once += u64::from(is_at_once(event.side, flow));
            if is_soon(event.side, flow) {
                self.soon += 1;
                self.soon_at.add(event.mono_ns);
            }
            if is_short(event.side, flow) {
                match flow.bytes_received {
                    Some(0) => self.turned_away += 1,
                    _ => self.answered_shortly += 1,
                }
            }
            return;
        };
        self.count += 1;
        self.never += u64::from(waiting.never);
        self.waited.add(waiting.for_ns);
        self.at.add(event.mono_ns);
    }

    /// Adds another's.
    pub fn add_all(&mut self, other: &Self) {
        self.count += other.count;
        self.never += other.never;
        self.waited.add_all(&other.waited);
        self.at.add_all(&other.at);
        self.soon += other.soon;
        self.soon_at.add_all(&other.soon_at);
        self.at_once += other.at_once;
        self.turned_away += other.turned_away;
        self.answered_shortly += other.answered_shortly;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventFacts, samples};

    const MS: u64 = 1_000_000;

    fn closed(side: Side, sent: u64, received: u64, idle_ms: u64, change: fn(&mut Flow)) -> u64 {
        let mut event = samples::time_wait();
        event.side = side;
        let EventFacts::TimeWait(mut facts) = event.facts.clone() else {
            panic!("a TIME_WAIT");
        };
        facts.flow.bytes_sent = Some(sent);
        facts.flow.bytes_received = Some(received);
        facts.flow.idle_ns = Some(idle_ms * MS);
        facts.flow.send_idle_ns = Some(idle_ms * MS);
        change(&mut facts.flow);
        let mut all = Unanswered::default();
        all.add(&event, &facts);
        assert_eq!(all.count == 1, is_unanswered(side, &facts));
        all.count
    }

    #[test]
    fn a_client_waits_after_it_has_sent() {
        let client =
            |sent, received, idle_ms| closed(Side::Client, sent, received, idle_ms, |_| ());
        assert_eq!(client(80, 0, 1_000), 1);
        assert_eq!(client(80, 0, 10), 0, "it wants no answer");
        assert_eq!(client(0, 0, 1_000), 0, "a check");
        // The tick does not show which came first.
        assert_eq!(client(80, 600, 1_000), 0);
        let last = |flow: &mut Flow| flow.awaits_answer = Some(true);
        assert_eq!(closed(Side::Client, 80, 600, 1_000, last), 1);
        assert_eq!(closed(Side::Client, 80, 600, 10, last), 0);
    }

    #[test]
    fn a_server_owes_an_answer_to_what_came_last() {
        let server =
            |sent, received, idle_ms| closed(Side::Server, sent, received, idle_ms, |_| ());
        assert_eq!(server(0, 80, 0), 1);
        assert_eq!(server(0, 0, 0), 0);
        assert_eq!(server(600, 80, 1_000), 0);
        let owed = |flow: &mut Flow| flow.send_idle_ns = Some(30_000 * MS);
        assert_eq!(closed(Side::Server, 600, 80, 1_000, owed), 1);
        // As a command that ends the session.
        assert_eq!(closed(Side::Server, 600, 80, 0, owed), 0);
        let unknown = |flow: &mut Flow| flow.bytes_sent = None;
        assert_eq!(closed(Side::Server, 600, 80, 1_000, unknown), 0);
    }
}
