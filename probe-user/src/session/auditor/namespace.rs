//! One namespace of the audit: the processes that lead to it, what was read of it, and what its audit starts from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use twtrace_core::model::audit::{CountedAt, Counters, Reading, Uncertainty};
use twtrace_wire::{NetnsKey, NetnsTotals};

use super::SeenByNetns;
use crate::enrich::kernel_counters;
use crate::enrich::netns::{self, Identify};
use crate::scan::namespace_helper::NamespaceHelper;
use crate::scan::setting::{self, Setting};

/// Processes that are kept for each namespace, to read it through them.
const REMEMBERED: usize = 8;

#[derive(Debug, Default)]
pub struct AuditedNamespace {
    /// Processes that were in it, latest first.
    pub pids: Vec<u32>,
    pub mount: Option<PathBuf>,
    /// What the audit starts from. A namespace that is created later starts from 0.
    pub baseline: Baseline,
    pub latest: Option<(Reading, u64)>,
    /// What was seen between the two latest readings.
    pub moved: Uncertainty,
    /// The same for the readings of the baseline.
    pub baseline_moved: Uncertainty,
    /// Its counters decreased once.
    pub is_replaced: bool,
    /// What the probes had counted when it was found to be removed.
    pub gone_with: Option<NetnsTotals>,
    pub state: ReadingState,
}

#[derive(Clone, Copy, Debug, Default)]
pub enum Baseline {
    /// Created after tracing began, with counters that began at 0.
    #[default]
    Zero,
    Read(Reading),
    /// It existed before and could not be read.
    Unreadable,
}

/// Within one round of readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadingState {
    /// Not read in this round yet.
    #[default]
    Unread,
    /// Read once, or with different figures each time.
    Moving,
    /// Read twice with the same figures.
    Settled,
    /// It could not be read.
    Unreachable,
}

/// A round of readings: which processes are in which namespace, looked up at most once, and how figures are compared.
pub struct Inhabited<'a> {
    /// Finds which namespace a file stands for.
    pub identify: Identify<'a>,
    counted: CountedAt,
    helper: Option<Rc<NamespaceHelper>>,
    found: Option<BTreeMap<u32, Vec<u32>>>,
}

impl<'a> Inhabited<'a> {
    pub fn new(
        identify: Identify<'a>,
        counted: CountedAt,
        helper: Option<&Rc<NamespaceHelper>>,
    ) -> Self {
        Self {
            identify,
            counted,
            helper: helper.cloned(),
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

/// Moves a pid to the front of those that are kept.
pub fn put_first(pids: &mut Vec<u32>, pid: u32) {
    if pids.first() != Some(&pid) {
        pids.retain(|known| *known != pid);
        pids.insert(0, pid);
        pids.truncate(REMEMBERED);
    }
}

impl AuditedNamespace {
    /// Starts the audit from the latest reading.
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

    /// Reads it. `None` if it can't be reached.
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
        let path = self.mount.as_ref()?;
        let leads_there = || netns::key_of_mount(path, identify) == Some(netns);
        if !leads_there() {
            return None;
        }
        let counters = match &inhabited.helper {
            Some(helper) => counters_by_helper(helper, netns.netns, path)?,
            // Works only before privileges are dropped.
            None => netns::counters_by_mount(path)
                .inspect_err(|error| log::debug!("reading namespace {}: {error:#}", netns.netns))
                .ok()?,
        };
        // Another namespace may have been given its number in between.
        leads_there().then_some(counters)
    }
}

/// Reads the counters of a mounted namespace through the process that may still enter it.
fn counters_by_helper(helper: &NamespaceHelper, netns: u32, path: &PathBuf) -> Option<Counters> {
    let paths = std::slice::from_ref(path);
    let text = |setting| setting::text(Some(helper), netns, paths, setting);
    let read = || -> anyhow::Result<Counters> {
        Ok(kernel_counters::parse(
            &text(Setting::Netstat)?,
            &text(Setting::Snmp)?,
            &text(Setting::Sockstat)?,
        )?)
    };
    read()
        .inspect_err(|error| log::debug!("reading namespace {netns}: {error:#}"))
        .ok()
}
