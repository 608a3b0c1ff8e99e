//! The report document: printed by `report --json`, and the source of tables.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::audit::AuditRow;
use super::budget::row::{BudgetRow, OtherBudgets};
use super::close_wait::CloseWaitRow;
use super::coverage::Coverage;
use super::destinations::DestinationRow;
use super::exactness::Inexact;
use super::fixed_port_row::FixedPortRow;
use super::memory::Memory;
use super::missing_addresses::MissingAddressRow;
use super::namespace::NamespaceSamples;
use super::pairs::PairRow;
use super::stacks::StackRow;
use crate::event::Timestamp;
use crate::filter::Filter;
use crate::hooks::{Choice, sees_ends, sees_refused_reuse};
use crate::model::netns_name::{NamedAfter, NetnsName, shown_netns};

pub use super::exactness::{Exact, LostRow, MissRow};
pub use super::process_row::{PortRow, ProcessRow, sorted};

/// A report for one span of time.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Report {
    /// When tracing began: all probes attached.
    pub start: Timestamp,
    /// When the totals were read.
    pub end: Timestamp,
    /// Number of network namespaces in which a figure of `audit` differs from the kernel's by more than the uncertainty
    /// of reading: if it is not 0, no figure here is reliable before that is understood. Filtered by network namespace
    /// only.
    pub audit_off: u64,
    /// Time between both, nanoseconds of CLOCK_MONOTONIC.
    pub duration_ns: u64,
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// The tier of each capability.
    pub tiers: Vec<Choice>,
    /// Which figures are complete.
    pub exact: Exact,
    /// What was lost of the incomplete figures.
    pub inexact: Vec<Inexact>,
    /// By process.
    pub processes: Vec<ProcessRow>,
    /// By destination.
    pub destinations: Vec<DestinationRow>,
    /// By process and destination.
    pub pairs: Vec<PairRow>,
    /// Events without a row in `pairs`: these have a maximum number.
    pub pairs_left_out: u64,
    /// TIME_WAITs that exist, by the kernel's own count. Filtered by network namespace only.
    pub time_waits_alive: TimeWaitsAlive,
    /// Port pools, the fullest first. Filtered by namespace, source and destination only.
    pub budgets: Vec<BudgetRow>,
    /// Port pools beyond the limit.
    pub other_budgets: OtherBudgets,
    /// Namespaces whose port pools are not known.
    pub budgets_unknown: Vec<UnscannedRow>,
    /// Calls for one fixed port that failed since it was taken, and who had it. A history does not keep them.
    pub fixed_ports: Vec<FixedPortRow>,
    /// Such calls without a row in `fixed_ports`: these have a maximum number.
    pub fixed_ports_left_out: u64,
    /// Calls that failed since this host lacks an address. A history does not keep them.
    pub missing_addresses: Vec<MissingAddressRow>,
    /// Such calls without a row in `missing_addresses`: these have a maximum number.
    pub missing_addresses_left_out: u64,
    /// Connections in CLOSE_WAIT when tracing ended, by process and destination.
    pub close_wait: Vec<CloseWaitRow>,
    /// Namespaces that could not be scanned for them.
    pub unscanned: Vec<UnscannedRow>,
    /// Names of network namespaces, if they have one. Never filtered.
    pub netns_names: Vec<NetnsName>,
    /// By process and user stack; `None` if stacks were not requested.
    pub stacks: Option<Vec<StackRow>>,
    /// Memory of the kernel's tables when tracing ends. Never filtered.
    pub memory: Memory,
    /// By network namespace: what was traced, compared with what the kernel counted. Filtered by network namespace
    /// only.
    pub audit: Vec<AuditRow>,
    /// Losses, by probe.
    pub lost: Vec<LostRow>,
    /// Runs of our programs that the kernel skipped; `None` if it does not count them, or they are not known.
    pub recursion_misses: Option<Vec<MissRow>>,
    /// Whether the counts of the kernel side were read: a part of a recording has none, nor has one after a crash.
    #[serde(skip)]
    pub has_totals: bool,
    /// The time that it covers, if it is from a history; then `duration_ns` is without gaps, and port pools are as they
    /// were when they were fullest.
    pub history: Option<Coverage>,
}

impl Report {
    /// Whether ends of TIME_WAITs are seen, and not only presumed.
    pub fn sees_ends(&self) -> bool {
        sees_ends(&self.tiers)
    }

    /// Whether hooks see why connects could not reuse TIME_WAITs.
    pub fn sees_refused_reuse(&self) -> bool {
        sees_refused_reuse(&self.tiers)
    }

    /// How many earlier namespaces had the number of the last one that had it: names and port pools are those of the last.
    pub fn last_nth(&self, netns: u32) -> u32 {
        let of_pairs = self.pairs.iter().map(|row| (row.netns, row.netns_nth));
        let of_audit = self.audit.iter().map(|row| (row.netns, row.netns_nth));
        let of_destinations = self.destinations.iter();
        let of_destinations = of_destinations.filter_map(|row| Some((row.netns?, row.netns_nth)));
        let all = of_pairs.chain(of_audit).chain(of_destinations);
        let all = all.filter(|(number, _)| *number == netns);
        all.map(|(_, nth)| nth).max().unwrap_or(0)
    }

    /// The name of a namespace, or its number.
    pub fn netns_name(&self, netns: u32, nth: u32) -> String {
        let mut names = self.netns_names.iter();
        let named = names.find(|name| name.netns == netns);
        // An earlier namespace of this number need not have had this name. The host's stays as long as the host is up.
        let is_its =
            |name: &&NetnsName| name.after == NamedAfter::Host || nth == self.last_nth(netns);
        named
            .filter(is_its)
            .map_or_else(|| shown_netns(netns, nth), NetnsName::short)
    }

    /// Whether figures of pairs are lower bounds.
    pub fn has_inexact_pairs(&self) -> bool {
        !self.exact.destinations || self.pairs_left_out > 0
    }

    /// The network namespaces that occur in its rows.
    pub fn namespaces(&self) -> BTreeSet<u32> {
        let destinations = self.destinations.iter().filter_map(|row| row.netns);
        destinations
            .chain(self.budgets.iter().map(|row| row.netns))
            .chain(self.close_wait.iter().map(|row| row.netns))
            .chain(self.audit.iter().map(|row| row.netns))
            .collect()
    }
}

/// TIME_WAITs that exist in the namespaces that could be read; `None` if none could.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeWaitsAlive {
    /// When tracing began.
    pub at_start: Option<u64>,
    /// When it ended.
    pub at_end: Option<u64>,
}

impl TimeWaitsAlive {
    /// From the first and the latest sample.
    pub fn of(before: &NamespaceSamples, after: &NamespaceSamples, filter: &Filter) -> Self {
        let sum = |samples: &NamespaceSamples| {
            let shown = samples.iter().filter(|it| filter.shows_netns(*it.0));
            let known = shown.filter_map(|it| it.1.state.as_ref().ok()?.time_waits);
            known.fold(None, |sum: Option<u64>, count| {
                Some(sum.unwrap_or(0) + count)
            })
        };
        Self {
            at_start: sum(before),
            at_end: sum(after),
        }
    }
}

/// A namespace whose sockets could not be listed.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnscannedRow {
    /// Its inode number.
    pub netns: u32,
    /// Why not.
    pub why: String,
}
