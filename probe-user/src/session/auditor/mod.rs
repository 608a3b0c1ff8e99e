//! Keeps the readings that the audit compares, by network namespace.

mod late;
mod namespace;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use twtrace_core::event::Event;
use twtrace_core::event::event_table::EventFacts;
use twtrace_core::model::audit::{AuditRow, Last, Reading, Sight, audit};
use twtrace_wire::{EventKind, NetnsKey, NetnsTotals, ResetDirection};

use crate::enrich::netns::{self, Identify};
use crate::enrich::pid_namespace;
use crate::scan::namespace_helper::NamespaceHelper;
use namespace::{AuditedNamespace, Baseline, Inhabited, ReadingState, key_among, put_first};

/// How often a namespace with new births or RSTs is read, nanoseconds. It may vanish before the end.
const READ_INTERVAL_NS: u64 = 200_000_000;

/// What the probes counted, by namespace.
pub type SeenByNetns = HashMap<NetnsKey, NetnsTotals>;

/// Follows every namespace that can be reached. The kernel gives the number of a removed namespace to another one at
/// once, so what is read through a process belongs to the namespace whose mark matches.
#[derive(Debug)]
pub struct Auditor {
    sight: Sight,
    /// Reads namespaces that only a mount keeps. Without it, that takes a privilege which is soon dropped.
    helper: Option<Rc<NamespaceHelper>>,
    /// /proc shows only some processes, so the set of namespaces is not known.
    is_limited: bool,
    namespaces: BTreeMap<NetnsKey, AuditedNamespace>,
    /// Numbers of namespaces where something was counted since their last reading, with processes that were in them,
    /// latest first.
    unread: BTreeMap<u32, Vec<u32>>,
    /// Namespaces that were found late and may have existed before tracing began.
    late: Vec<NetnsKey>,
    /// How many namespaces with each number were met.
    met: HashMap<u32, u32>,
    /// `None`: due as soon as a namespace is unread.
    last_read_ns: Option<u64>,
}

impl Auditor {
    /// Finds the namespaces that exist. Call [`Self::read_before_start`] and [`Self::read_at_start`] next.
    pub fn begin(
        sight: Sight,
        identify: Identify<'_>,
        helper: Option<Rc<NamespaceHelper>>,
    ) -> Self {
        let mut auditor = Self {
            sight,
            helper,
            is_limited: !pid_namespace::shows_all(),
            namespaces: BTreeMap::new(),
            unread: BTreeMap::new(),
            late: Vec::new(),
            met: HashMap::new(),
            last_read_ns: None,
        };
        auditor.find_inhabited(identify);
        auditor.find_mounted(identify);
        auditor.met = auditor
            .namespaces
            .keys()
            .map(|key| (key.netns, 1))
            .collect();
        auditor
    }

    pub fn namespaces(&self) -> impl Iterator<Item = NetnsKey> {
        self.namespaces.keys().copied()
    }

    fn find_mounted(&mut self, identify: Identify<'_>) {
        for (_, path) in netns::mounted() {
            self.add_mount(path, identify);
        }
    }

    /// Some were only reached through processes, which may have ended. One that is not known yet is not added: it may have
    /// existed before tracing began.
    fn find_mounts_of_known(&mut self, identify: Identify<'_>) {
        for (_, path) in netns::mounted() {
            let key = netns::key_of_mount(&path, identify);
            if let Some(known) = key.and_then(|key| self.namespaces.get_mut(&key)) {
                known.mount = Some(path);
            }
        }
    }

    /// The namespace with this number that a mount keeps.
    fn key_mounted(&mut self, netns: u32, identify: Identify<'_>) -> Option<NetnsKey> {
        let mut mounted = netns::mounted().into_iter();
        let (_, path) = mounted.find(|(number, _)| *number == netns)?;
        self.add_mount(path, identify)
    }

    fn add_mount(&mut self, path: PathBuf, identify: Identify<'_>) -> Option<NetnsKey> {
        let key = netns::key_of_mount(&path, identify)?;
        self.namespaces.entry(key).or_default().mount = Some(path);
        Some(key)
    }

    fn find_inhabited(&mut self, identify: Identify<'_>) {
        for (netns, pids) in netns::inhabited() {
            if let Some(key) = key_among(netns, &pids, identify) {
                self.namespaces.entry(key).or_default().pids = pids;
            }
        }
    }

    /// Reads each namespace that is not settled yet once more. Returns true when all are settled: figures of the
    /// kernel and the probes, which can't be read at the same instant, then belong together.
    pub fn step(&mut self, seen: &SeenByNetns, now_ns: u64, identify: Identify<'_>) -> bool {
        let mut inhabited = Inhabited::new(identify, self.sight.counted, self.helper.as_ref());
        let mut all_settled = true;
        for (netns, namespace) in &mut self.namespaces {
            let before = match namespace.state {
                ReadingState::Settled | ReadingState::Unreachable => continue,
                // The reading of an earlier round may be too recent to compare with.
                ReadingState::Unread => None,
                ReadingState::Moving => namespace.latest,
            };
            namespace.state = match namespace.read(*netns, seen, now_ns, &mut inhabited) {
                None => ReadingState::Unreachable,
                Some(reading) if before.is_some_and(|(before, _)| before == reading) => {
                    ReadingState::Settled
                }
                Some(_) => ReadingState::Moving,
            };
            all_settled &= namespace.state != ReadingState::Moving;
        }
        all_settled
    }

    /// Reads the kernel's counters before the probes count. The audit counts from here.
    pub fn read_before_start(&mut self, now_ns: u64, identify: Identify<'_>) {
        let mut inhabited = Inhabited::new(identify, self.sight.counted, self.helper.as_ref());
        let nothing = SeenByNetns::new();
        for (netns, namespace) in &mut self.namespaces {
            namespace.baseline = match namespace.read(*netns, &nothing, now_ns, &mut inhabited) {
                Some(reading) => Baseline::Read(reading),
                None => Baseline::Unreadable,
            };
        }
    }

    /// Reads the counters again when the probes have begun to count. What the kernel counted in between may have
    /// happened before that, and so may all that it counted in a namespace created in between.
    pub fn read_at_start(&mut self, seen: &SeenByNetns, now_ns: u64, identify: Identify<'_>) {
        let mut inhabited = Inhabited::new(identify, self.sight.counted, self.helper.as_ref());
        for (netns, namespace) in &mut self.namespaces {
            namespace.read_at_start(*netns, seen, now_ns, &mut inhabited);
        }
        let known: HashSet<NetnsKey> = self.namespaces().collect();
        self.find_inhabited(identify);
        self.find_mounted(identify);
        for (netns, namespace) in &mut self.namespaces {
            if !known.contains(netns) {
                *self.met.entry(netns.netns).or_default() += 1;
                namespace.read_at_start(*netns, seen, now_ns, &mut inhabited);
            }
        }
    }

    /// Notes where births happen and RSTs are sent, and by which processes. RSTs without a process are ignored here:
    /// a port scan causes any number of them, and finding the processes of a namespace takes a walk through /proc.
    pub fn note(&mut self, event: &Event) {
        let is_counted = match event.event {
            EventKind::TimeWait | EventKind::TimeWaitOverflow => true,
            EventKind::Reset => is_sent(event) && event.process.is_some(),
            _ => false,
        };
        let Some(netns) = event.netns.filter(|_| is_counted) else {
            return;
        };
        let met = self.met.entry(netns).or_default();
        if event.netns_nth >= *met {
            // It may be short-lived, so it is read now.
            self.last_read_ns = None;
            *met = event.netns_nth + 1;
        }
        let pids = self.unread.entry(netns).or_default();
        for process in [&event.process, &event.opener].into_iter().flatten() {
            put_first(pids, process.key.tgid);
        }
    }

    /// Whether [`Self::read_changed`] is due.
    pub fn is_due(&self, now_ns: u64) -> bool {
        !self.unread.is_empty()
            && self
                .last_read_ns
                .is_none_or(|last| now_ns.saturating_sub(last) >= READ_INTERVAL_NS)
    }

    /// Reads the namespaces that had births, so that some figures are left if they vanish.
    pub fn read_changed(&mut self, seen: &SeenByNetns, now_ns: u64, identify: Identify<'_>) {
        let mut inhabited = Inhabited::new(identify, self.sight.counted, self.helper.as_ref());
        for (netns, pids) in std::mem::take(&mut self.unread) {
            // Of the namespaces that had this number, the one that has it now.
            let key = key_among(netns, &pids, identify)
                .or_else(|| key_among(netns, &self.pids_of(netns), identify))
                .or_else(|| key_among(netns, &inhabited.pids(netns), identify))
                .or_else(|| self.key_mounted(netns, identify));
            let Some(key) = key else {
                self.read_by_thread(netns, &pids, seen, now_ns, &mut inhabited);
                continue;
            };
            let namespace = self.namespaces.entry(key).or_default();
            for pid in pids.into_iter().rev() {
                // A process of which only a thread was in the namespace does not lead to it.
                if netns::of_process(pid) == Some(netns) {
                    put_first(&mut namespace.pids, pid);
                }
            }
            namespace.read(key, seen, now_ns, &mut inhabited);
        }
        self.last_read_ns = Some(now_ns);
    }

    /// Starts the last round of readings: call [`Self::step`] until it returns true, then [`Self::rows`]. Includes
    /// namespaces in which no birth was noted.
    pub fn begin_last_round(&mut self, seen: &SeenByNetns, identify: Identify<'_>) {
        self.find_inhabited(identify);
        self.find_mounts_of_known(identify);
        for netns in seen.keys() {
            self.namespaces.entry(*netns).or_default();
        }
        for namespace in self.namespaces.values_mut() {
            namespace.state = ReadingState::Unread;
        }
    }

    /// Forgets namespaces that had already been removed a round ago, and returns them. To be called after a round
    /// whose audit was reported, if tracing runs for weeks. A namespace that took over another's number is audited
    /// from here on.
    pub fn rotate(&mut self, seen: &SeenByNetns) -> Vec<NetnsKey> {
        let is_lost = |namespace: &AuditedNamespace| {
            matches!(
                namespace.state,
                ReadingState::Unreachable | ReadingState::Unread
            )
        };
        // Read only if it is needed.
        let existing: HashSet<u32> = if self.namespaces.values().any(is_lost) {
            netns::inhabited()
                .into_keys()
                .chain(netns::mounted().into_iter().map(|(netns, _)| netns))
                .collect()
        } else {
            HashSet::new()
        };
        self.forget_gone(seen, &existing)
    }

    fn forget_gone(&mut self, seen: &SeenByNetns, existing: &HashSet<u32>) -> Vec<NetnsKey> {
        let mut gone = Vec::new();
        // Of the namespaces with one number at most one exists: one that was read, if any was.
        let read: HashSet<u32> = self
            .namespaces
            .iter()
            .filter(|(_, namespace)| {
                matches!(
                    namespace.state,
                    ReadingState::Settled | ReadingState::Moving
                )
            })
            .map(|(key, _)| key.netns)
            .collect();
        self.namespaces.retain(|netns, namespace| {
            if namespace.is_replaced {
                namespace.audit_from_here();
            }
            let is_read = matches!(
                namespace.state,
                ReadingState::Settled | ReadingState::Moving
            );
            let is_there =
                is_read || existing.contains(&netns.netns) && !read.contains(&netns.netns);
            if is_there {
                namespace.gone_with = None;
                return true;
            }
            // Its sockets may outlive its last process by a minute.
            let seen = seen.get(netns).copied().unwrap_or_default();
            if namespace.gone_with.replace(seen) != Some(seen) {
                return true;
            }
            gone.push(*netns);
            false
        });
        gone
    }

    pub fn rows(
        &self,
        seen: &SeenByNetns,
        now_ns: u64,
        nth: &dyn Fn(NetnsKey) -> u32,
    ) -> Vec<AuditRow> {
        self.namespaces
            .iter()
            .map(|(netns, namespace)| {
                let baseline = match namespace.baseline {
                    // It may have existed before tracing began.
                    Baseline::Zero if self.is_limited => None,
                    Baseline::Zero => Some(Reading::default()),
                    Baseline::Read(reading) => Some(reading),
                    Baseline::Unreadable => None,
                };
                let seen = seen.get(netns).copied().unwrap_or_default();
                let last = match (namespace.state, namespace.latest) {
                    _ if namespace.is_replaced => Last::Replaced { seen },
                    _ if netns.mark == 0 => Last::Unproven { seen },
                    (ReadingState::Settled | ReadingState::Moving, Some((reading, _))) => {
                        Last::AtEnd {
                            reading,
                            uncertainty: namespace.moved + namespace.baseline_moved,
                        }
                    }
                    _ if self.is_limited => Last::Hidden { seen },
                    (_, latest) => Last::Gone {
                        last: latest.map(|(reading, at)| (reading, now_ns.saturating_sub(at))),
                        seen,
                    },
                };
                AuditRow {
                    netns_nth: nth(*netns),
                    ..audit(netns.netns, baseline, last, self.sight)
                }
            })
            .collect()
    }
}

fn is_sent(event: &Event) -> bool {
    matches!(&event.facts, EventFacts::Reset(reset) if reset.direction == ResetDirection::Sent)
}

#[cfg(test)]
mod tests;
