//! If no hook sees TIME_WAITs end: their presumed ends, and checks of the kernel's sockets that correct them.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twtrace_core::event::Event;
use twtrace_core::event::timestamp::Clocks;
use twtrace_core::model::budget::sysctls::{TIME_WAIT_NS, TwTimeout};
use twtrace_core::model::inferred_ends::{InferredEnds, SocketDump};

use crate::scan::namespace_helper::NamespaceHelper;
use crate::scan::setting::{self, Setting};
use crate::scan::snapshot::{self, namespaces};
use crate::scan::sock_diag::Query;

/// How often the kernel's sockets are listed, in namespaces with TIME_WAITs that are presumed to be alive. Listing a
/// hundred thousand takes a tenth of a second.
const BETWEEN_DUMPS: Duration = Duration::from_secs(5);

const SECOND_NS: u64 = 1_000_000_000;

/// Presumed ends, and what checks need.
#[derive(Debug)]
pub struct LiveInferredEnds {
    ends: InferredEnds,
    helper: Option<Rc<NamespaceHelper>>,
    dumped_at: Instant,
}

impl LiveInferredEnds {
    /// With room for this many TIME_WAITs.
    pub fn new(max_entries: u32) -> Self {
        Self {
            ends: InferredEnds::new(usize::try_from(max_entries).unwrap_or(usize::MAX)),
            helper: None,
            dumped_at: Instant::now(),
        }
    }

    /// Uses this helper to enter other namespaces.
    pub fn scan_through(&mut self, helper: Option<Rc<NamespaceHelper>>) {
        self.helper = helper;
    }

    /// TIME_WAITs so far whose ends will not be reported.
    pub fn without_room(&self) -> u64 {
        self.ends.without_room
    }

    /// The end that an event implies, which happened before it.
    pub fn note(&mut self, event: &Event, clocks: Clocks) -> Option<Event> {
        self.ends.note(event, clocks)
    }

    /// Ends that are due, and from time to time those that a check shows.
    pub fn tick(&mut self, now_ns: u64, clocks: Clocks) -> Vec<Event> {
        if self.dumped_at.elapsed() >= BETWEEN_DUMPS {
            return self.correct(now_ns, clocks);
        }
        self.ends.expired(now_ns, clocks)
    }

    /// Ends that a check shows, and those that are due. `now_ns` is CLOCK_MONOTONIC before the check.
    pub fn correct(&mut self, now_ns: u64, clocks: Clocks) -> Vec<Event> {
        let wanted = self.ends.namespaces();
        let mut ends = Vec::new();
        if !wanted.is_empty() {
            let found = snapshot::take(self.helper.as_deref(), Query::all(), &wanted);
            let existing = namespaces();
            for namespace in &found.namespaces {
                let netns = namespace.netns;
                let paths = existing.get(&netns);
                let seconds = |setting| self.seconds(netns, paths?, setting);
                let dump = SocketDump {
                    sockets: &namespace.rows,
                    time_wait_ns: seconds(Setting::TwTimeout)
                        .and_then(TwTimeout::from_seconds)
                        .map_or(TIME_WAIT_NS, TwTimeout::nanoseconds),
                    fin_timeout_ns: seconds(Setting::FinTimeout)
                        .and_then(|seconds| seconds.checked_mul(SECOND_NS)),
                    asked_ns: now_ns,
                };
                ends.extend(self.ends.correct(namespace.netns, dump, clocks));
            }
            for netns in wanted {
                if !existing.contains_key(&netns) {
                    ends.extend(self.ends.purge(netns, now_ns, clocks));
                }
            }
        }
        ends.extend(self.ends.expired(now_ns, clocks));
        self.dumped_at = Instant::now();
        ends
    }

    /// `None` if the kernel has no such setting.
    fn seconds(&self, netns: u32, paths: &[PathBuf], setting: Setting) -> Option<u64> {
        let text = setting::text(self.helper.as_deref(), netns, paths, setting).ok()?;
        text.trim().parse().ok()
    }
}
