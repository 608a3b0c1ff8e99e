//! Namespaces that are found late, because only a thread is in them.

use twtrace_core::model::audit::{Last, Reading, Uncertainty, audit};
use twtrace_wire::NetnsKey;

use super::namespace::{Inhabited, key_among};
use super::{Auditor, SeenByNetns};
use crate::enrich::netns::{self, Identify};

impl Auditor {
    /// Processes and threads by which namespaces with this number were read.
    pub(super) fn pids_of(&self, netns: u32) -> Vec<u32> {
        let first = NetnsKey { netns, mark: 0 };
        let last = NetnsKey {
            netns,
            mark: u32::MAX,
        };
        let known = self.namespaces.range(first..=last);
        known
            .flat_map(|(_, namespace)| namespace.pids.iter().copied())
            .collect()
    }

    /// Reads a namespace that only a thread of these processes is in. The search at the start does not find such a
    /// namespace, though it may have existed then: see [`Self::read_late`].
    pub(super) fn read_by_thread(
        &mut self,
        netns: u32,
        pids: &[u32],
        seen: &SeenByNetns,
        now_ns: u64,
        inhabited: &mut Inhabited<'_>,
    ) {
        if self.is_limited {
            // /proc may show other processes under these ids.
            return;
        }
        let threads = netns::threads_in(netns, pids);
        let Some(key) = key_among(netns, &threads, inhabited.identify) else {
            return;
        };
        let is_new = !self.namespaces.contains_key(&key);
        let namespace = self.namespaces.entry(key).or_default();
        namespace.pids = threads;
        if namespace.read(key, seen, now_ns, inhabited).is_some() && is_new {
            self.late.push(key);
        }
    }

    /// Whether [`Self::read_late`] has something to do.
    pub fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Finds out whether namespaces that were found late existed before tracing began, which is sure only if the probes
    /// counted nothing while the kernel's counters were read: what the kernel has counted then and the probes have not,
    /// happened before. Such a namespace is audited from here on. If the probes counted something it is read once more,
    /// and the question is left for the next call.
    pub fn read_late(&mut self, seen: &SeenByNetns, now_ns: u64, identify: Identify<'_>) {
        let mut inhabited = Inhabited::new(identify, self.sight.counted, self.helper.as_ref());
        for key in std::mem::take(&mut self.late) {
            let Some(namespace) = self.namespaces.get_mut(&key) else {
                continue;
            };
            let Some((reading, _)) = namespace.latest else {
                continue;
            };
            if seen.get(&key).copied().unwrap_or_default() != reading.seen {
                if namespace.read(key, seen, now_ns, &mut inhabited).is_some() {
                    self.late.push(key);
                }
                continue;
            }
            let all = Last::AtEnd {
                reading,
                uncertainty: Uncertainty::default(),
            };
            let row = audit(key.netns, Some(Reading::default()), all, self.sight);
            let mut differences = row
                .compared()
                .into_iter()
                .filter_map(|(difference, _)| difference);
            if differences.any(|difference| difference < 0) {
                // From this very reading: the probes counted nothing while it was taken.
                namespace.moved = Uncertainty::default();
                namespace.audit_from_here();
            }
        }
    }

    /// Audits the namespaces that are left from here on: whether they existed before can't be found out while they are
    /// that busy.
    pub fn audit_late_from_here(&mut self) {
        for key in std::mem::take(&mut self.late) {
            if let Some(namespace) = self.namespaces.get_mut(&key) {
                namespace.audit_from_here();
            }
        }
    }
}
