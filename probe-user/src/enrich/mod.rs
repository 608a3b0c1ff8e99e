//! What the kernel side does not report about a process: start time, executable, cgroup and container.

mod cgroup_lines;
pub mod cgroup_tree;
mod cgroup_watch;
pub mod hierarchies;
pub mod kernel_counters;
pub mod netns;
pub mod netns_arg;
pub mod netns_names;
pub mod pid_namespace;
pub mod procfs;
mod remembered;
pub mod running;

use std::sync::Arc;

use twtrace_core::event::comm::Comm;
use twtrace_core::event::place::Place;
use twtrace_core::event::process::ProcessDetails;
use twtrace_core::event::timestamp::Clocks;
use twtrace_core::event::{Event, EventFacts, Process};
use twtrace_wire::{CGROUP_V1, ProcessKey, ProcessNow};

use cgroup_lines::CgroupVersions;
use cgroup_tree::{CgroupTree, Resolved};
use hierarchies::Hierarchies;
use procfs::Ask;
use remembered::Remembered;

/// Processes whose details are kept. At most twice as many are in memory.
const CACHED: usize = 8_192;

/// A process with one name, cgroup and program: exec changes both the name and the executable, and a process may be
/// moved.
type CacheKey = (ProcessKey, Comm, u64, u32);

/// Looks up details in /proc while the process lives, and keeps them.
#[derive(Debug)]
pub struct Enricher {
    clocks: Clocks,
    cgroups: CgroupTree,
    /// Whether a process may be in cgroups of more than one hierarchy.
    has_v1: bool,
    known: Remembered<CacheKey, Arc<ProcessDetails>>,
    /// The latest result: the next request is usually for the same process.
    last: Option<(CacheKey, Arc<ProcessDetails>)>,
}

impl Enricher {
    /// `clocks` give processes their start times.
    pub fn new(clocks: Clocks) -> Self {
        let hierarchies = Hierarchies::find();
        Self {
            clocks,
            cgroups: CgroupTree::of(&hierarchies),
            has_v1: hierarchies.v1.is_some(),
            known: Remembered::new(CACHED),
            last: None,
        }
    }

    /// Learns of created cgroups before they are removed again. To be called often.
    pub fn keep_up(&mut self) {
        self.cgroups.keep_up();
    }

    /// Completes the processes of an event. Uses what /proc shows now only if `ask` confirms that it was the same
    /// then.
    pub fn complete_event(&mut self, event: &mut Event, ask: Ask) {
        if let EventFacts::TimeWaitEnd(facts) = &mut event.facts
            && let Some(by) = &mut facts.by
        {
            self.complete(by, ask);
        }
        let Event {
            process, opener, ..
        } = event;
        if let Some(process) = process {
            self.complete(process, ask);
        }
        if let Some(opener) = opener {
            // Nearly always the same process, often under the same name.
            match process {
                Some(process) if cache_key(process) == cache_key(opener) => {
                    opener.details.clone_from(&process.details);
                }
                _ => self.complete(opener, ask),
            }
        }
    }

    /// Completes a process.
    pub fn complete(&mut self, process: &mut Process, ask: Ask) {
        let cache_key = cache_key(process);
        let last = self.last.as_ref().filter(|(last, _)| *last == cache_key);
        let details = match last {
            Some((_, details)) => Arc::clone(details),
            None => self.find(cache_key, process, ask),
        };
        if process.comm.is_empty() {
            process.comm = details.comm;
        }
        process.details = Some(details);
    }

    /// The details from the cache, or looked up.
    fn find(&mut self, cache_key: CacheKey, process: &Process, ask: Ask) -> Arc<ProcessDetails> {
        if let Some(details) = self.known.get(&cache_key) {
            let details = Arc::clone(details);
            self.last = Some((cache_key, Arc::clone(&details)));
            return details;
        }
        let (details, is_all) = self.look_up(process, ask);
        let details = Arc::new(details);
        if is_all {
            self.known.insert(cache_key, Arc::clone(&details));
        }
        details
    }

    /// The details that are available, and whether no more will be.
    fn look_up(&mut self, process: &Process, ask: Ask) -> (ProcessDetails, bool) {
        let start_boot_ns = process.key.start_boot_ns;
        let resolved = self.cgroups.resolve(process.cgroup_id);
        // The id shows where the process was then. /proc shows where it is now, and it may have been moved. So /proc
        // is used only for hierarchies that the id does not cover.
        let wanted = match resolved {
            Resolved::Path(_) if !self.has_v1 => None,
            Resolved::Path(_) if process.cgroup_id & CGROUP_V1 == 0 => Some(CgroupVersions::V1),
            Resolved::Path(_) => Some(CgroupVersions::V2),
            Resolved::Unknown | Resolved::NotYet => Some(CgroupVersions::All),
        };
        let found = procfs::read(process.key, wanted, ask);
        // A process in twtrace's pid namespace will soon be known there.
        let may_be_shown = !pid_namespace::shows_all() && found.is_none();
        let is_all = resolved != Resolved::NotYet && !may_be_shown;
        let found = found.unwrap_or_default();
        let (is_same_program, is_same_cgroup) = found
            .now
            .map_or((false, false), |now| is_unchanged(process, &now));
        let now = found.cgroup.filter(|_| is_same_cgroup);
        let cgroup = match (resolved, now) {
            (Resolved::Path(path), now) => {
                let then = Place::from_path(path);
                match now {
                    Some(now) => Some(then.or_if_it_says_more(now)),
                    None => Some(then),
                }
            }
            (_, now) => now,
        };
        let (comm, exe) = if is_same_program {
            (found.comm, found.exe)
        } else {
            (Comm::default(), None)
        };
        let details = ProcessDetails {
            comm,
            start_time: (start_boot_ns != 0).then(|| self.clocks.of_boottime(start_boot_ns)),
            exe,
            cgroup,
        };
        (details, is_all)
    }
}

fn cache_key(process: &Process) -> CacheKey {
    (process.key, process.comm, process.cgroup_id, process.execs)
}

/// Whether a process ran the same program, and was in the same cgroup, when it acted.
fn is_unchanged(then: &Process, now: &ProcessNow) -> (bool, bool) {
    let is_same_program = now.in_exec == 0 && now.execs == then.execs;
    let is_same_cgroup = then.cgroup_id != 0 && now.cgroup_id == then.cgroup_id;
    (is_same_program, is_same_cgroup)
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::samples;

    use super::*;
    use crate::clock;

    #[test]
    fn this_process_is_found_and_an_impostor_is_not() {
        let start_boot_ns =
            procfs::boot_ns_of_ticks(procfs::start_ticks(std::process::id()).unwrap());
        let mut me = samples::process(std::process::id(), "me");
        me.key.start_boot_ns = start_boot_ns;
        me.comm = Comm::default();
        me.execs = 7;
        let now = ProcessNow {
            key: me.key,
            execs: 7,
            ..ProcessNow::default()
        };
        let found = |mut process: Process, now: Option<ProcessNow>| {
            let mut enricher = Enricher::new(clock::measure().unwrap());
            enricher.complete(&mut process, &|_| now);
            let details = process.details.unwrap();
            assert!(details.start_time.is_some());
            (process.comm, details.exe.clone())
        };
        let (comm, exe) = found(me.clone(), Some(now));
        assert!(!comm.is_empty());
        assert_eq!(exe.as_deref(), std::env::current_exe().unwrap().to_str());

        let mut impostor = me.clone();
        impostor.key.start_boot_ns += 2_000_000_000;
        let other = ProcessNow {
            key: impostor.key,
            ..now
        };
        // Another process, another program, one that differs in one of the two, and no answer.
        let nothing = (Comm::default(), None);
        assert_eq!(found(impostor, Some(other)), nothing);
        for now in [
            Some(ProcessNow { execs: 8, ..now }),
            Some(ProcessNow { in_exec: 1, ..now }),
            Some(other),
            None,
        ] {
            assert_eq!(found(me.clone(), now), nothing, "{now:?}");
        }
    }

    #[test]
    fn a_cgroup_that_can_not_be_looked_up_is_that_of_now_only_if_it_is_the_same() {
        let start_boot_ns =
            procfs::boot_ns_of_ticks(procfs::start_ticks(std::process::id()).unwrap());
        let mut me = samples::process(std::process::id(), "me");
        me.key.start_boot_ns = start_boot_ns;
        // No hierarchy has this id.
        const ID: u64 = u64::MAX >> 2;
        for (then, now, is_known) in [(ID, ID, true), (ID, ID - 1, false), (0, 0, false)] {
            me.cgroup_id = then;
            let now = ProcessNow {
                key: me.key,
                cgroup_id: now,
                ..ProcessNow::default()
            };
            let mut process = me.clone();
            let mut enricher = Enricher::new(clock::measure().unwrap());
            enricher.complete(&mut process, &|_| Some(now));
            assert_eq!(process.place().is_some(), is_known, "{then} {now:?}");
        }
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut enricher = Enricher::new(Clocks::fixed(0, 0));
        for tgid in 0..3 * CACHED as u32 {
            // Above the largest pid, so that no process is read.
            enricher.complete(&mut samples::process(0x7000_0000 + tgid, "gone"), &|_| None);
        }
        assert!(enricher.known.len() <= 2 * CACHED);
    }
}
