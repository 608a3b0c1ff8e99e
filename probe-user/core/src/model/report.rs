//! The report document: what `report --json` prints, and what tables are made of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::audit::AuditRow;
use super::budget::row::{BudgetRow, OtherBudgets};
use super::close_wait::CloseWaitRow;
use super::coverage::Coverage;
use super::destinations::DestinationRow;
use super::exactness::Inexact;
use super::memory::Memory;
use super::stacks::StackRow;
use crate::event::Timestamp;
use crate::hooks::{Choice, sees_ends, sees_refused_reuse};
use crate::model::netns_name::NetnsName;

pub use super::exactness::{Exact, LostRow, MissRow};
pub use super::process_row::{PortRow, ProcessRow, sorted};

/// A report over one span of time.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Report {
    /// When tracing began: all probes attached.
    pub start: Timestamp,
    /// When the totals were read.
    pub end: Timestamp,
    /// In how many network namespaces a figure of `audit` differs from the kernel's by more than the uncertainty of
    /// reading: if any, no figure here is to be trusted before that is understood. Filtered by network namespace only.
    pub audit_off: u64,
    /// Time between both, nanoseconds of CLOCK_MONOTONIC.
    pub duration_ns: u64,
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// What answers each question.
    pub tiers: Vec<Choice>,
    /// Which figures are complete.
    pub exact: Exact,
    /// What was lost that figures would have counted which are not complete.
    pub inexact: Vec<Inexact>,
    /// By process.
    pub processes: Vec<ProcessRow>,
    /// By destination.
    pub destinations: Vec<DestinationRow>,
    /// Budgets of local ports, the fullest first. Filtered by namespace, source and destination only.
    pub budgets: Vec<BudgetRow>,
    /// Budgets there was no room for.
    pub other_budgets: OtherBudgets,
    /// Namespaces whose budgets are not known.
    pub budgets_unknown: Vec<UnscannedRow>,
    /// Connections in CLOSE_WAIT when tracing ended, by process and destination.
    pub close_wait: Vec<CloseWaitRow>,
    /// Namespaces that could not be searched for them.
    pub unscanned: Vec<UnscannedRow>,
    /// Names of network namespaces, of those that have one. Never filtered.
    pub netns_names: Vec<NetnsName>,
    /// By process and user stack; `None` where stacks were not asked for.
    pub stacks: Option<Vec<StackRow>>,
    /// What the kernel's tables take when tracing ends. Never filtered.
    pub memory: Memory,
    /// By network namespace: traced against counted by the kernel. Filtered by network namespace only.
    pub audit: Vec<AuditRow>,
    /// Who lost something.
    pub lost: Vec<LostRow>,
    /// Runs of our programs that the kernel skipped; `None` where it does not count them, or they are not known.
    pub recursion_misses: Option<Vec<MissRow>>,
    /// Whether what the kernel side counted was read: it is not of a part of a recording, or after a crash.
    #[serde(skip)]
    pub has_totals: bool,
    /// The time that it covers, where it is out of a history; then `duration_ns` is without gaps, and budgets are as
    /// they were when they were fullest.
    pub history: Option<Coverage>,
}

impl Report {
    /// Whether ends of TIME_WAITs are seen, and not only presumed.
    pub fn sees_ends(&self) -> bool {
        sees_ends(&self.tiers)
    }

    /// Whether it is seen why connects could not take TIME_WAITs.
    pub fn sees_refused_reuse(&self) -> bool {
        sees_refused_reuse(&self.tiers)
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

/// A namespace whose sockets could not be listed.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnscannedRow {
    /// Its inode number.
    pub netns: u32,
    /// What stood in the way.
    pub why: String,
}
