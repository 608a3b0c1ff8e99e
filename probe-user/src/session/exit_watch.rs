//! Processes that close connections, and whether they have exited since: a server that ends closes all it has at once, which
//! events alone do not distinguish from other closings.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use twtrace_core::event::{Event, EventFacts, Process};
use twtrace_wire::{EventKind, ProcessKey, ResetDirection, Side};

use super::Session;
use crate::enrich::procfs;

/// Maximum number of processes that are watched.
const MAX_WATCHED: usize = 512;
/// Exits of processes that closed fewer connections are no matter: those of a server that forks for each connection.
const SOME: u32 = 5;
/// How often it is checked whether they still run.
const PAUSE: Duration = Duration::from_millis(250);

/// The processes that closed connections.
#[derive(Debug, Default)]
pub struct ExitWatch {
    /// Number of connections that each closed.
    watched: HashMap<ProcessKey, u32>,
    checked: Option<Instant>,
}

impl ExitWatch {
    /// Learns from an event.
    pub fn note(&mut self, event: &Event) {
        let closes = match &event.facts {
            EventFacts::Reset(reset) => reset.direction == ResetDirection::Sent,
            EventFacts::TimeWait(_) => {
                event.event == EventKind::TimeWait && event.side == Side::Server
            }
            _ => false,
        };
        let Some(process) = event.process.as_ref().filter(|_| closes) else {
            return;
        };
        if let Some(closed) = self.watched.get_mut(&process.key) {
            *closed = closed.saturating_add(1);
            return;
        }
        // Those that closed the fewest make room.
        if self.watched.len() >= MAX_WATCHED {
            self.watched.retain(|_, closed| *closed >= SOME);
            if self.watched.len() >= MAX_WATCHED {
                self.watched.clear();
            }
        }
        self.watched.insert(process.key, 1);
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
        self.checked = Some(Instant::now());
        self.take(procfs::has_exited)
    }

    fn take(&mut self, has_exited: impl Fn(ProcessKey) -> bool) -> Vec<ProcessKey> {
        let gone = self.watched.extract_if(|key, _| has_exited(*key));
        gone.filter(|(_, closed)| *closed >= SOME)
            .map(|(key, _)| key)
            .collect()
    }
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
        let exited = watch.take(|key| key.tgid != 8);
        let pids: Vec<_> = exited.iter().map(|key| key.tgid).collect();
        assert_eq!(pids, [7]);
        assert_eq!(watch.watched.len(), 1);
        assert!(watch.take(|key| key.tgid != 8).is_empty());
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
