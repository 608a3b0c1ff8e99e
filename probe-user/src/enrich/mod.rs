//! What the kernel side does not say about a process: start time, executable, cgroup and container.

pub mod cgroup;
mod cgroup_lines;
mod cgroup_names;
pub mod cgroup_tree;
mod cgroup_watch;
pub mod counters;
pub mod hierarchies;
pub mod netns;
pub mod netns_names;
pub mod pid_namespace;
pub mod procfs;
mod remembered;

use std::sync::Arc;

use twtrace_wire::{CGROUP_V1, ProcessKey};

use crate::event::comm::Comm;
use crate::event::timestamp::{Clocks, Timestamp};
use crate::event::{Event, Facts, Process};
use cgroup::Place;
use cgroup_lines::Lines;
use cgroup_tree::{CgroupTree, Resolved};
use hierarchies::Hierarchies;
use remembered::Remembered;

/// Processes whose details are kept; twice as many at most are in memory.
const CACHED: usize = 8_192;

/// What was found out about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Its name when it was looked up; empty where it was gone.
    pub comm: Comm,
    /// When it started.
    pub start_time: Option<Timestamp>,
    /// Path of its executable, as the kernel shows it.
    pub exe: Option<String>,
    /// Where it runs.
    pub cgroup: Option<Place>,
}

/// A process under one name and in one cgroup: exec changes both the name and the executable, and a process may
/// be moved.
type CacheKey = (ProcessKey, Comm, u64);

/// Looks details up in /proc while the process lives, and keeps them.
#[derive(Debug)]
pub struct Enricher {
    clocks: Clocks,
    cgroups: CgroupTree,
    /// Whether a process may be in cgroups of more than one hierarchy.
    has_v1: bool,
    known: Remembered<CacheKey, Arc<Details>>,
    /// The one that was asked for last: mostly it is the next one as well.
    last: Option<(CacheKey, Arc<Details>)>,
}

impl Enricher {
    /// Looks nothing up yet. `clocks` gives processes their start times.
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

    /// Learns of cgroups that were made, before they are gone again. To be called often.
    pub fn keep_up(&mut self) {
        self.cgroups.keep_up();
    }

    /// Completes the processes of an event.
    pub fn complete_event(&mut self, event: &mut Event) {
        if let Facts::TimeWaitEnd(facts) = &mut event.facts
            && let Some(by) = &mut facts.by
        {
            self.complete(by);
        }
        let Event {
            process, opener, ..
        } = event;
        if let Some(process) = process {
            self.complete(process);
        }
        if let Some(opener) = opener {
            // Nearly always the same process, often under the same name.
            match process {
                Some(process) if process.is(opener) && process.comm == opener.comm => {
                    opener.details.clone_from(&process.details);
                }
                _ => self.complete(opener),
            }
        }
    }

    /// Completes a process.
    pub fn complete(&mut self, process: &mut Process) {
        let cache_key = (process.key, process.comm, process.cgroup_id);
        let last = self.last.as_ref().filter(|(last, _)| *last == cache_key);
        let details = match last {
            Some((_, details)) => Arc::clone(details),
            None => self.find(cache_key, process),
        };
        if process.comm.is_empty() {
            process.comm = details.comm;
        }
        process.details = Some(details);
    }

    /// What is known, or can be found out.
    fn find(&mut self, cache_key: CacheKey, process: &Process) -> Arc<Details> {
        if let Some(details) = self.known.get(&cache_key) {
            let details = Arc::clone(details);
            self.last = Some((cache_key, Arc::clone(&details)));
            return details;
        }
        let (details, is_all) = self.look_up(process);
        let details = Arc::new(details);
        if is_all {
            self.known.insert(cache_key, Arc::clone(&details));
        }
        details
    }

    /// What there is, and whether that is all there will be.
    fn look_up(&mut self, process: &Process) -> (Details, bool) {
        let start_boot_ns = process.key.start_boot_ns;
        let resolved = self.cgroups.resolve(process.cgroup_id);
        // The id says where it was then. /proc says where it is now, to which it may have been moved: that is asked
        // only for hierarchies of which the id says nothing.
        let wanted = match resolved {
            Resolved::Path(_) if !self.has_v1 => None,
            Resolved::Path(_) if process.cgroup_id & CGROUP_V1 == 0 => Some(Lines::V1),
            Resolved::Path(_) => Some(Lines::V2),
            Resolved::Unknown | Resolved::NotYet => Some(Lines::All),
        };
        let found = procfs::read(process.key, wanted);
        // One that is in twtrace's pid namespace is known there soon.
        let may_be_shown = !pid_namespace::shows_all() && found.is_none();
        let is_all = resolved != Resolved::NotYet && !may_be_shown;
        let found = found.unwrap_or_default();
        let cgroup = match (resolved, found.cgroup) {
            (Resolved::Path(path), now) => {
                let then = Place::from_path(path);
                match now {
                    Some(now) => Some(then.or_if_it_says_more(now)),
                    None => Some(then),
                }
            }
            (_, now) => now,
        };
        let details = Details {
            comm: found.comm,
            start_time: (start_boot_ns != 0).then(|| self.clocks.of_boottime(start_boot_ns)),
            exe: found.exe,
            cgroup,
        };
        (details, is_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn this_process_is_found_and_an_impostor_is_not() {
        let start_boot_ns =
            procfs::boot_ns_of_ticks(procfs::start_ticks(std::process::id()).unwrap());
        let mut enricher = Enricher::new(Clocks::measure().unwrap());
        let mut me = samples::process(std::process::id(), "me");
        me.key.start_boot_ns = start_boot_ns;
        me.comm = Comm::default();
        enricher.complete(&mut me);
        assert!(!me.comm.is_empty());
        let details = me.details.unwrap();
        assert_eq!(
            details.exe.as_deref(),
            std::env::current_exe().unwrap().to_str()
        );
        assert!(details.start_time.is_some());

        let mut impostor = samples::process(std::process::id(), "other");
        impostor.key.start_boot_ns = start_boot_ns + 2_000_000_000;
        enricher.complete(&mut impostor);
        assert_eq!(impostor.details.unwrap().exe, None);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut enricher = Enricher::new(Clocks::fixed(0, 0));
        for tgid in 0..3 * CACHED as u32 {
            // Beyond the largest pid, so that no process is read.
            enricher.complete(&mut samples::process(0x7000_0000 + tgid, "gone"));
        }
        assert!(enricher.known.len() <= 2 * CACHED);
    }
}
