//! Processes that close connections, and whether they have exited since: a server that ends closes all it has at once, which
//! events alone do not distinguish from other closings.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use twtrace_core::event::{Event, EventFacts, Process};
use twtrace_core::model::unanswered::is_unanswered;
use twtrace_wire::{EventKind, ProcessKey, ResetDirection, Side};

use super::Session;
use crate::enrich::procfs;

/// Maximum number of processes that are watched.
const MAX_WATCHED: usize = 512;
/// Exits of processes with fewer events are no matter: a server that forks for each connection has two at most from each, a
/// TIME_WAIT and the RST for data that came too late.
const SOME: u32 = 3;
/// An exit this long after the last closing is no cause of it.
const FORGET: Duration = Duration::from_secs(4);
/// How often it is checked whether they still run.
const PAUSE: Duration = Duration::from_millis(250);

/// The processes that closed connections.
#[derive(Debug, Default)]
pub struct ExitWatch {
    watched: HashMap<ProcessKey, Watched>,
    checked: Option<Instant>,
}

/// A process that closed connections.
#[derive(Debug, Default)]
struct Watched {
    /// How many.
    closed: u32,
    /// When the last one was noticed; `None` if that was after the last check.
    noticed: Option<Instant>,
}

impl ExitWatch {
    /// Learns from an event.
    pub fn note(&mut self, event: &Event) {
        let closed = match &event.facts {
            EventFacts::Reset(reset) if reset.direction == ResetDirection::Sent => 1,
            EventFacts::TimeWait(closed) if is_of_server(event) => {
                // A process that ends instead of answering matters by itself.
                match is_unanswered(event.side, closed) {
                    true => SOME,
                    false => 1,
                }
            }
            _ => return,
        };
        let Some(process) = event.process.as_ref() else {
            return;
        };
        // Those that closed the fewest make room.
        if self.watched.len() >= MAX_WATCHED && !self.watched.contains_key(&process.key) {
            self.watched.retain(|_, watched| watched.closed >= SOME);
            if self.watched.len() >= MAX_WATCHED {
                self.watched.clear();
            }
        }
        let watched = self.watched.entry(process.key).or_default();
        watched.closed = watched.closed.saturating_add(closed);
        watched.noticed = None;
    }

    /// Processes that have exited since the last time, with their details; `None` if there are none.
    pub fn exited_named(&mut self, session: &mut Session, has_ended: bool) -> Option<Vec<Process>> {
        let exited = self.exited(has_ended).into_iter();
        let named: Vec<Process> = exited.filter_map(|key| session.named(key)).collect();
        (!named.is_empty()).then_some(named)
    }

    /// Those that have exited since the last time; empty if it is too early to check again. `has_ended`: tracing has.
    fn exited(&mut self, has_ended: bool) -> Vec<ProcessKey> {
        let is_early = self.checked.is_some_and(|at| at.elapsed() < PAUSE);
        if is_early && !has_ended {
            return Vec::new();
        }
        let now = Instant::now();
        self.checked = Some(now);
        self.take(now, procfs::has_exited)
    }

    /// Only processes that closed some recently are checked, so that those of an idle host cost nothing.
    fn take(&mut self, now: Instant, has_exited: impl Fn(ProcessKey) -> bool) -> Vec<ProcessKey> {
        self.watched.retain(|_, watched| {
            let noticed = *watched.noticed.get_or_insert(now);
            now.saturating_duration_since(noticed) < FORGET
        });
        let gone = self
            .watched
            .extract_if(|key, watched| watched.closed >= SOME && has_exited(*key));
        gone.map(|(key, _)| key).collect()
    }
}

fn is_of_server(event: &Event) -> bool {
    event.event == EventKind::TimeWait && event.side == Side::Server
}

#[cfg(test)]
mod tests {
    use super::*;
    use twtrace_core::event::samples;

    #[test]
    fn only_what_closed_connections_is_watched_and_each_exit_is_reported_once() {
        let mut watch = ExitWatch::default();
        let closing = |pid| {
            let mut event = samples::reset();
            event.process = Some(samples::process(pid, "nginx"));
            event
        };
        for _ in 0..SOME {
            watch.note(&closing(7));
            watch.note(&closing(8));
        }
        watch.note(&closing(9));
        watch.note(&samples::time_wait());
        assert_eq!(watch.watched.len(), 3);
        let now = Instant::now();
        let exited = watch.take(now, |key| key.tgid != 8);
        let pids: Vec<_> = exited.iter().map(|key| key.tgid).collect();
        assert_eq!(pids, [7]);
        assert_eq!(watch.watched.len(), 2);
        assert!(watch.take(now, |key| key.tgid != 8).is_empty());
    }

    #[test]
    fn a_process_that_closed_nothing_for_a_while_is_not_checked() {
        let mut watch = ExitWatch::default();
        let mut event = samples::reset();
        event.process = Some(samples::process(7, "nginx"));
        for _ in 0..SOME {
            watch.note(&event);
        }
        let now = Instant::now();
        let checks = std::cell::Cell::new(0);
        let still_runs = |_| {
            checks.set(checks.get() + 1);
            false
        };
        watch.take(now, still_runs);
        watch.take(now + FORGET / 2, still_runs);
        assert_eq!(checks.get(), 2);
        // It closes another.
        watch.note(&event);
        watch.take(now + FORGET, still_runs);
        assert_eq!(checks.get(), 3);
        watch.take(now + 2 * FORGET, still_runs);
        assert_eq!((checks.get(), watch.watched.len()), (3, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut watch = ExitWatch::default();
        for pid in 1..10 * MAX_WATCHED as u32 {
            let mut event = samples::reset();
            event.process = Some(samples::process(pid, "sshd"));
            watch.note(&event);
        }
        assert!(watch.watched.len() <= MAX_WATCHED);
    }
}
