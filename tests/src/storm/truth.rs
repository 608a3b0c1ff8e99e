//! The truth about a life: which processes may be named for which event, and which reasons are possible.

use std::collections::BTreeSet;

use super::{
    ledger::LedgerEntry,
    plan::{End, Life, LifePlan, ServerKind, StepAction},
    tracer::TraceEvent,
};

/// A listener that was closed, with the connections in its queue.
#[derive(Clone, Copy, Debug)]
pub struct ClosedListener {
    /// The entry of the close.
    pub entry: LedgerEntry,
    /// Whether the server is the one that does so repeatedly.
    pub is_of_flaky: bool,
}

/// All actions on the connections of one life.
pub struct Truth<'a> {
    pub life: Life,
    /// The client's part of it.
    pub plan: LifePlan,
    /// In the order of the ledger.
    pub entries: &'a [LedgerEntry],
    /// Every close of a listener.
    pub closed_listeners: &'a [ClosedListener],
}

/// When and by which process a connection was ended at one end: by one of several if that is not known.
struct Ending {
    how: Ended,
    pids: Vec<i32>,
    before_ns: u64,
    after_ns: u64,
}

/// How an end was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// shutdown() of the direction to the peer.
    ShutdownWrite,
    /// shutdown() of both directions: from then on data is too late.
    ShutdownBoth,
    /// The last descriptor was closed, or the socket disconnected.
    Closed,
}

/// Which processes an event may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    pub pids: BTreeSet<i32>,
    /// None: no process is responsible, or none yet.
    pub nobody: bool,
}

impl Truth<'_> {
    fn of(&self, end: End) -> impl Iterator<Item = &LedgerEntry> {
        self.entries.iter().filter(move |entry| entry.end == end)
    }

    fn connections(&self, end: End) -> BTreeSet<u8> {
        self.of(end).map(|entry| entry.connection).collect()
    }

    /// Which processes an event of this end at this time may name.
    pub fn allowed(&self, end: End, at_ns: u64) -> Allowed {
        let mut allowed = Allowed::default();
        for connection in self.connections(end) {
            self.allow(end, connection, at_ns, &mut allowed);
        }
        // A connection still waits for accept().
        let begun = self
            .entries
            .iter()
            .filter(|entry| entry.action == StepAction::Connect && entry.before_ns <= at_ns);
        let accepted = self
            .of(end)
            .filter(|entry| entry.action == StepAction::Accept && entry.after_ns <= at_ns);
        if end == End::Server && accepted.count() < begun.count() {
            allowed.nobody = true;
        }
        if end == End::Server && allowed.nobody {
            let closes = self
                .closed_listeners
                .iter()
                .map(|close| close.entry)
                .filter(|close| close.before_ns <= at_ns && at_ns <= close.after_ns);
            allowed.pids.extend(closes.map(|close| close.pid));
        }
        allowed
    }

    fn allow(&self, end: End, connection: u8, at_ns: u64, allowed: &mut Allowed) {
        let of_it = || self.of(end).filter(|entry| entry.connection == connection);
        // Events before accept() are reported when it was called.
        let openers = of_it().filter(|entry| match entry.action {
            StepAction::Connect => entry.before_ns <= at_ns,
            StepAction::Accept => true,
            _ => false,
        });
        let openers: Vec<i32> = openers.map(|entry| entry.pid).collect();
        if openers.is_empty() {
            return;
        }
        let endings = self.endings(end, connection);
        let first_ns = add_firsts(&endings, at_ns, |_| true, &mut allowed.pids);
        // Ended by the peer before that, or not ended yet.
        if first_ns.is_none_or(|first_ns| at_ns <= first_ns) {
            allowed.pids.extend(openers);
        }
    }

    /// Which processes the RST of a disconnect may name: the one that disconnects, also if another one called shutdown()
    /// before.
    pub fn allowed_to_disconnect(&self, end: End, at_ns: u64) -> Allowed {
        let mut allowed = self.allowed(end, at_ns);
        // Of those that wait for accept().
        if !allowed.nobody {
            allowed.pids.clear();
        }
        for connection in self.connections(end) {
            let endings = self.endings(end, connection);
            let closed = |ending: &Ending| ending.how == Ended::Closed;
            add_firsts(&endings, at_ns, closed, &mut allowed.pids);
        }
        allowed
    }

    /// Which processes a RST in answer to late data may name: the one that made it too late. If one process called
    /// shutdown() and another one closed, the event may also name nobody.
    pub fn allowed_to_be_late(&self, end: End, at_ns: u64) -> Allowed {
        let mut allowed = self.allowed(end, at_ns);
        allowed.pids.clear();
        for connection in self.connections(end) {
            let endings = self.endings(end, connection);
            let shuts_reading = |ending: &Ending| ending.how != Ended::ShutdownWrite;
            add_firsts(&endings, at_ns, shuts_reading, &mut allowed.pids);
            let until = || endings.iter().filter(|ending| ending.before_ns <= at_ns);
            allowed.nobody |= until().any(|shut| {
                until().any(|later| match (shut.how, later.how) {
                    (Ended::ShutdownWrite | Ended::ShutdownBoth, Ended::Closed) => {
                        later.pids != shut.pids
                    }
                    // Its second shutdown() is not seen.
                    (Ended::ShutdownWrite, Ended::ShutdownBoth) => true,
                    _ => false,
                })
            });
        }
        allowed
    }

    /// What ended a connection at this end: calls that end it at once, and the last of those that close a descriptor.
    fn endings(&self, end: End, connection: u8) -> Vec<Ending> {
        let of_it = || self.of(end).filter(|entry| entry.connection == connection);
        let at_once = of_it().filter(|entry| {
            let acts = matches!(
                entry.action,
                StepAction::ShutdownWrite | StepAction::ShutdownBoth | StepAction::Disconnect
            );
            acts && entry.errno == 0
        });
        let mut endings: Vec<Ending> = at_once
            .map(|entry| Ending {
                how: match entry.action {
                    StepAction::ShutdownWrite => Ended::ShutdownWrite,
                    StepAction::ShutdownBoth => Ended::ShutdownBoth,
                    _ => Ended::Closed,
                },
                pids: vec![entry.pid],
                before_ns: entry.before_ns,
                after_ns: entry.after_ns,
            })
            .collect();
        let closes = || {
            of_it().filter(|entry| {
                matches!(
                    entry.action,
                    StepAction::Close
                        | StepAction::CloseInThread
                        | StepAction::Abort
                        | StepAction::Hand(_)
                )
            })
        };
        // Not before the last of them has begun, and not after all are done.
        let before_ns = closes().map(|entry| entry.before_ns).max();
        let after_ns = closes().map(|entry| entry.after_ns).max();
        if let (Some(before_ns), Some(after_ns)) = (before_ns, after_ns) {
            let last = closes().filter(|entry| entry.after_ns >= before_ns);
            endings.push(Ending {
                how: Ended::Closed,
                pids: last.map(|entry| entry.pid).collect(),
                before_ns,
                after_ns,
            });
        }
        endings
    }

    /// All processes that ever had this end.
    pub fn all(&self, end: End) -> BTreeSet<i32> {
        self.of(end).map(|entry| entry.pid).collect()
    }

    /// Whether this end may have had no socket at this time.
    pub fn may_be_gone(&self, end: End, at_ns: u64) -> bool {
        let connections = self.connections(end);
        self.plan.forges
            || connections.is_empty()
            || connections.iter().any(|&connection| {
                let is_open_yet = self.of(end).any(|entry| {
                    entry.connection == connection
                        && matches!(entry.action, StepAction::Connect | StepAction::Accept)
                        && entry.before_ns <= at_ns
                });
                let mut endings = self.endings(end, connection).into_iter();
                !is_open_yet || endings.any(|ending| ending.before_ns <= at_ns)
            })
            || self.has_closed_listener(at_ns)
            // A RST of the peer removes the socket from the kernel's table.
            || self.did(end.other(), at_ns, StepAction::may_end)
    }

    /// Whether connections may have been reset in a listener's queue, or found no listener any more.
    fn has_closed_listener(&self, at_ns: u64) -> bool {
        self.plan.server == ServerKind::Flaky
            || self
                .closed_listeners
                .iter()
                .any(|close| !close.is_of_flaky && close.entry.before_ns <= at_ns)
    }

    fn did(&self, end: End, at_ns: u64, what: impl Fn(StepAction) -> bool) -> bool {
        self.of(end)
            .any(|entry| entry.before_ns <= at_ns && what(entry.action))
    }

    /// Whether data of the peer may have come after this end no longer took any.
    pub fn may_be_late(&self, end: End, at_ns: u64) -> bool {
        let is_shut = self.did(end, at_ns, |it| {
            it.is_last() || it == StepAction::ShutdownBoth
        });
        is_shut && self.did(end.other(), at_ns, |it| matches!(it, StepAction::Write(_)))
    }

    /// Checks the reason of a reset against the actions; returns what is missing for it.
    pub fn contradicts(&self, event: &TraceEvent, end: End) -> Option<&'static str> {
        let at_ns = event.mono_ns;
        let own = |what: fn(StepAction) -> bool| self.did(end, at_ns, what);
        let peer = |what: fn(StepAction) -> bool| self.did(end.other(), at_ns, what);
        let may_have_no_listener = self.has_closed_listener(at_ns);
        let wrote = |action| matches!(action, StepAction::Write(_));
        // The actions of its ends no longer determine what arrived.
        if self.plan.forges && event.reason.as_deref() != Some("linger_zero") {
            return None;
        }
        let why = match (event.direction.as_deref(), event.reason.as_deref()) {
            (Some("sent"), Some("linger_zero")) if !own(|it| it == StepAction::Abort) => {
                "this end never had SO_LINGER 0"
            }
            (Some("sent"), Some("unread_data")) if !own(StepAction::is_last) => {
                "this end was not closed"
            }
            (Some("sent"), Some("unread_data" | "data_after_close")) if !peer(wrote) => {
                "the peer never wrote anything"
            }
            (Some("sent"), Some("data_after_close"))
                if !own(|it| it.is_last() || it == StepAction::ShutdownBoth)
                    // A child that is created while its listener is closed begins shut down, as a copy of it, and sends
                    // a FIN as soon as it is established (tcp_rcv_state_process).
                    && (end == End::Client || !may_have_no_listener) =>
            {
                "this end was not closed"
            }
            (Some("sent"), Some("aborted"))
                if !own(|it| it == StepAction::Disconnect)
                    && (end == End::Client || !may_have_no_listener) =>
            {
                "this end never disconnected"
            }
            (Some("sent"), Some("no_socket")) if !self.may_be_gone(end, at_ns) => {
                "this end had its socket"
            }
            (Some("sent"), Some("time_wait")) if self.plan.again.is_none() => {
                "no connection came to this address again"
            }
            (Some("sent"), Some("timeout")) => "no timer ran out",
            (Some("received"), Some("refused"))
                if end != End::Client
                    // A listener answers an acknowledgment of the tuple's last connection with a RST.
                    || !(self.plan.again.is_some()
                        || may_have_no_listener
                        || self.plan.server == ServerKind::Nobody) =>
            {
                "somebody listened"
            }
            (Some("received"), Some("peer"))
                if !may_have_no_listener && !peer(StepAction::may_end) =>
            {
                "the peer ended nothing"
            }
            _ => return None,
        };
        Some(why)
    }
}

/// Adds the processes of those endings that may have been the first until then; returns when one had ended it for certain.
fn add_firsts(
    endings: &[Ending],
    at_ns: u64,
    of: impl Fn(&Ending) -> bool,
    pids: &mut BTreeSet<i32>,
) -> Option<u64> {
    let possible = || {
        endings
            .iter()
            .filter(|ending| ending.before_ns <= at_ns && of(ending))
    };
    // The earliest that is certain: all that began before it was done may have been the first.
    let first_ns = possible().map(|ending| ending.after_ns).min();
    let firsts =
        possible().filter(|ending| first_ns.is_some_and(|first_ns| ending.before_ns <= first_ns));
    pids.extend(firsts.flat_map(|ending| ending.pids.iter().copied()));
    first_ns
}
