//! A command and its descendants.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use twtrace_wire::ProcessKey;

/// Maximum number of other processes that are remembered, to avoid asking the kernel for each of their events.
const MAX_OTHERS: usize = 65_536;

/// The processes of a command and its descendants, as far as they were seen. Clones share their data: the session,
/// which can ask the kernel, adds what filters and the model read.
#[derive(Clone, Debug, Default)]
pub struct Family(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// (tgid, start in nanoseconds of CLOCK_BOOTTIME)
    members: BTreeSet<(u32, u64)>,
    others: HashSet<ProcessKey>,
}

impl Family {
    /// Whether the process belongs to it, as far as known.
    pub fn has(&self, process: ProcessKey) -> bool {
        self.read().members.contains(&member(process))
    }

    /// The member with this pid that started in the tick of length `tick_ns` that begins at `tick_start_ns`: /proc
    /// reports start times only in ticks.
    pub fn at_tick(&self, tgid: u32, tick_start_ns: u64, tick_ns: u64) -> Option<ProcessKey> {
        let within = (tgid, tick_start_ns)..(tgid, tick_start_ns.saturating_add(tick_ns));
        let (tgid, start_boot_ns) = *self.read().members.range(within).next()?;
        Some(ProcessKey {
            tgid,
            unattributed: 0,
            start_boot_ns,
        })
    }

    /// Adds a process: calls `is_member` only when it is first seen.
    ///
    /// # Errors
    /// The error of `is_member`.
    pub fn meet<E>(
        &self,
        process: ProcessKey,
        is_member: impl FnOnce(&ProcessKey) -> Result<bool, E>,
    ) -> Result<(), E> {
        let known = self.read();
        if known.members.contains(&member(process)) || known.others.contains(&process) {
            return Ok(());
        }
        drop(known);
        let belongs = is_member(&process)?;
        let mut known = self.write();
        if belongs {
            known.members.insert(member(process));
            return Ok(());
        }
        if known.others.len() >= MAX_OTHERS {
            // Most of them have exited by now; the others are asked for again.
            known.others.clear();
        }
        known.others.insert(process);
        Ok(())
    }

    /// Adds members.
    pub fn add(&self, members: impl IntoIterator<Item = ProcessKey>) {
        self.write().members.extend(members.into_iter().map(member));
    }

    // After a panic of another thread, the set is still valid.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn member(process: ProcessKey) -> (u32, u64) {
    (process.tgid, process.start_boot_ns)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn key(tgid: u32, start_boot_ns: u64) -> ProcessKey {
        ProcessKey {
            tgid,
            unattributed: 0,
            start_boot_ns,
        }
    }

    fn never(_: &ProcessKey) -> Result<bool, Infallible> {
        panic!("asked again")
    }

    #[test]
    fn the_kernel_is_asked_once_and_clones_know_the_answer() {
        let family = Family::default();
        let seen_by_a_filter = family.clone();
        assert!(!seen_by_a_filter.has(key(7, 1)));
        family
            .meet(key(7, 1), |_| Ok::<_, Infallible>(true))
            .unwrap();
        family
            .meet(key(8, 1), |_| Ok::<_, Infallible>(false))
            .unwrap();
        family.meet(key(7, 1), never).unwrap();
        family.meet(key(8, 1), never).unwrap();
        assert!(seen_by_a_filter.has(key(7, 1)));
        assert!(!seen_by_a_filter.has(key(8, 1)));
        assert!(!seen_by_a_filter.has(key(7, 2)), "the pid's next owner");
        assert_eq!(family.meet(key(9, 1), |_| Err("no map")), Err("no map"));
        assert!(!seen_by_a_filter.has(key(9, 1)));
    }

    #[test]
    fn a_start_to_the_tick_finds_the_member() {
        const TICK_NS: u64 = 10_000_000;
        let family = Family::default();
        family.add([key(7, 5 * TICK_NS + 123), key(7, 9 * TICK_NS)]);
        let at = |tgid, ticks| family.at_tick(tgid, ticks * TICK_NS, TICK_NS);
        assert_eq!(at(7, 5), Some(key(7, 5 * TICK_NS + 123)));
        assert_eq!(at(7, 9), Some(key(7, 9 * TICK_NS)));
        assert_eq!(at(7, 4), None);
        assert_eq!(at(7, 6), None);
        assert_eq!(at(8, 5), None);
        assert_eq!(family.at_tick(7, u64::MAX, TICK_NS), None);
    }

    #[test]
    fn processes_without_end_do_not_fill_the_memory() {
        let family = Family::default();
        for tgid in 1..=2 * MAX_OTHERS as u32 + 1 {
            family
                .meet(key(tgid, 1), |_| Ok::<_, Infallible>(false))
                .unwrap();
        }
        assert!(family.read().others.len() <= MAX_OTHERS);
    }
}
