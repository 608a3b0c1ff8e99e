//! One namespace of the audit: by which processes it is reached, what was read of it, and what its audit starts from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use twtrace_core::model::audit::{CountedAt, Counters, Reading, Uncertainty};
use twtrace_wire::{NetnsKey, NetnsTotals};

use super::SeenByNetns;
use crate::enrich::netns::{self, Identify};

/// Processes of a namespace to read it by.
const REMEMBERED: usize = 8;

#[derive(Debug, Default)]
pub struct Namespace {
    /// Processes that were in it, the latest first.
    pub pids: Vec<u32>,
    pub mount: Option<PathBuf>,
    /// What the audit starts from. A namespace that came later starts from nothing.
    pub baseline: Baseline,
    pub latest: Option<(Reading, u64)>,
    /// What was seen between the two latest readings.
    pub moved: Uncertainty,
    /// Those of the baseline.
    pub baseline_moved: Uncertainty,
    /// Its counters went back once.
    pub is_replaced: bool,
    /// What the probes had counted when it was found to be gone.
    pub gone_with: Option<NetnsTotals>,
    pub state: State,
}

#[derive(Clone, Copy, Debug, Default)]
pub enum Baseline {
    /// It came after tracing began, and its counters began at 0.
    #[default]
    Zero,
    Read(Reading),
    /// It was there before, and could not be read.
    Unreadable,
}

/// Within one round of readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not read in this round yet.
    #[default]
    Unread,
    /// Read once, or with other figures each time.
    Moving,
    /// Twice the same figures.
    Settled,
    /// It could not be read.
    Unreachable,
}

/// A round of readings: who lives where, looked up once if at all, and how figures are compared.
pub struct Inhabited<'a> {
    /// Which namespace a file stands for.
    pub identify: Identify<'a>,
    counted: CountedAt,
    found: Option<BTreeMap<u32, Vec<u32>>>,
}

impl<'a> Inhabited<'a> {
    /// Of nobody yet.
    pub fn new(identify: Identify<'a>, counted: CountedAt) -> Self {
        Self {
            identify,
            counted,
            found: None,
        }
    }

    /// Processes in the namespace with this number.
    pub fn pids(&mut self, netns: u32) -> Vec<u32> {
        let found = self.found.get_or_insert_with(netns::inhabited);
        found.get(&netns).cloned().unwrap_or_default()
    }
}

/// The namespace with this number that one of these processes is in.
pub fn key_among(netns: u32, pids: &[u32], identify: Identify<'_>) -> Option<NetnsKey> {
    pids.iter()
        .filter_map(|pid| netns::key_of_process(*pid, identify))
        .find(|key| key.netns == netns)
}

/// Puts one in front of those that are remembered.
pub fn put_first(pids: &mut Vec<u32>, pid: u32) {
    if pids.first() != Some(&pid) {
        pids.retain(|known| *known != pid);
        pids.insert(0, pid);
        pids.truncate(REMEMBERED);
    }
}

impl Namespace {
    /// Its audit begins with what was read last.
    pub fn audit_from_here(&mut self) {
        self.is_replaced = false;
        (self.baseline, self.baseline_moved) = match self.latest {
            Some((reading, _)) => (Baseline::Read(reading), self.moved),
            None => (Baseline::Unreadable, Uncertainty::default()),
        };
    }

    /// Reads it when the probes have begun to count.
    pub fn read_at_start(
        &mut self,
        netns: NetnsKey,
        seen: &SeenByNetns,
        now_ns: u64,
        inhabited: &mut Inhabited<'_>,
    ) {
        if self.read(netns, seen, now_ns, inhabited).is_some() {
            self.baseline_moved = self.moved;
        }
    }

    /// Reads it; `None` where it can't be reached.
    pub fn read(
        &mut self,
        netns: NetnsKey,
        seen: &SeenByNetns,
        now_ns: u64,
        inhabited: &mut Inhabited<'_>,
    ) -> Option<Reading> {
        let kernel = self.counters(netns, inhabited)?;
        let seen = seen.get(&netns).copied().unwrap_or_default();
        let reading = Reading { kernel, seen };
        self.is_replaced |= self
            .latest
            .is_some_and(|(before, _)| kernel.is_before(&before.kernel));
        let before = self
            .latest
            .map_or_else(Reading::default, |(before, _)| before);
        self.moved = Uncertainty::between(&before, &reading, inhabited.counted);
        self.latest = Some((reading, now_ns));
        Some(reading)
    }

    fn counters(&mut self, netns: NetnsKey, inhabited: &mut Inhabited<'_>) -> Option<Counters> {
        let identify = inhabited.identify;
        let by_known = |pids: &[u32]| {
            pids.iter()
                .find_map(|pid| netns::counters_by_process(netns, *pid, identify))
        };
        if let Some(counters) = by_known(&self.pids) {
            return Some(counters);
        }
        self.pids = inhabited.pids(netns.netns);
        if let Some(counters) = by_known(&self.pids) {
            return Some(counters);
        }
        // Only works before privileges are dropped.
        let path = self.mount.as_deref()?;
        if netns::key_of_mount(path, identify) != Some(netns) {
            return None;
        }
        netns::counters_by_mount(path)
            .inspect_err(|error| log::debug!("reading namespace {}: {error:#}", netns.netns))
            .ok()
    }
}
