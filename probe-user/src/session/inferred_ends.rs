//! Where no hook sees TIME_WAITs end: their presumed ends, and looks at the kernel's sockets that put them
//! right.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twtrace_core::event::Event;
use twtrace_core::event::timestamp::Clocks;
use twtrace_core::model::budget::sysctls::{TIME_WAIT_NS, TwTimeout};
use twtrace_core::model::inferred_ends::{InferredEnds, Look};

use crate::scan::namespace_helper::NamespaceHelper;
use crate::scan::setting::{self, Setting};
use crate::scan::snapshot::{self, namespaces};
use crate::scan::sock_diag::Query;

/// How often the kernel is asked for its sockets, in namespaces with TIME_WAITs that are presumed to live. A
/// hundred thousand take it a tenth of a second.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

const SECOND_NS: u64 = 1_000_000_000;

/// Presumed ends, and the way to look.
#[derive(Debug)]
pub struct LiveInferredEnds {
    ends: InferredEnds,
    helper: Option<Rc<NamespaceHelper>>,
    looked: Instant,
}

impl LiveInferredEnds {
    /// With room for so many TIME_WAITs.
    pub fn new(max_entries: u32) -> Self {
        Self {
            ends: InferredEnds::new(usize::try_from(max_entries).unwrap_or(usize::MAX)),
            helper: None,
            looked: Instant::now(),
        }
    }

    /// Other namespaces can be looked into through this.
    pub fn look_through(&mut self, helper: Option<Rc<NamespaceHelper>>) {
        self.helper = helper;
    }

    /// TIME_WAITs whose ends will go untold, so far.
    pub fn without_room(&self) -> u64 {
        self.ends.without_room
    }

    /// The end that an event shows, which came before it.
    pub fn note(&mut self, event: &Event, clocks: Clocks) -> Option<Event> {
        self.ends.note(event, clocks)
    }

    /// Ends that are due, and now and then those that a look shows.
    pub fn tick(&mut self, now_ns: u64, clocks: Clocks) -> Vec<Event> {
        if self.looked.elapsed() >= BETWEEN_LOOKS {
            return self.look(now_ns, clocks);
        }
        self.ends.expired(now_ns, clocks)
    }

    /// Ends that a look shows, and those that are due. `now_ns` is CLOCK_MONOTONIC before it.
    pub fn look(&mut self, now_ns: u64, clocks: Clocks) -> Vec<Event> {
        let wanted = self.ends.namespaces();
        let mut told = Vec::new();
        if !wanted.is_empty() {
            let found = snapshot::take(self.helper.as_deref(), Query::all(), &wanted);
            let existing = namespaces();
            for namespace in &found.namespaces {
                let netns = namespace.netns;
                let paths = existing.get(&netns);
                let seconds = |setting| self.seconds(netns, paths?, setting);
                let look = Look {
                    sockets: &namespace.rows,
                    time_wait_ns: seconds(Setting::TwTimeout)
                        .and_then(TwTimeout::from_seconds)
                        .map_or(TIME_WAIT_NS, TwTimeout::nanoseconds),
                    fin_timeout_ns: seconds(Setting::FinTimeout)
                        .and_then(|seconds| seconds.checked_mul(SECOND_NS)),
                    asked_ns: now_ns,
                };
                told.extend(self.ends.correct(namespace.netns, look, clocks));
            }
            for netns in wanted {
                if !existing.contains_key(&netns) {
                    told.extend(self.ends.purge(netns, now_ns, clocks));
                }
            }
        }
        told.extend(self.ends.expired(now_ns, clocks));
        self.looked = Instant::now();
        told
    }

    /// `None` where the kernel has no such setting.
    fn seconds(&self, netns: u32, paths: &[PathBuf], setting: Setting) -> Option<u64> {
        let text = setting::text(self.helper.as_deref(), netns, paths, setting).ok()?;
        text.trim().parse().ok()
    }
}
