//! The figures of one interval on a host: a history stores them, and reports over longer times are built from them.

use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::doctor::finding::Finding;
use twtrace_core::event::{Event, Moment};
use twtrace_core::hooks::Choice;
use twtrace_core::model::audit::AuditRow;
use twtrace_core::model::budget::row::{BudgetRow, OtherBudgets};
use twtrace_core::model::close_wait::CloseWaitRow;
use twtrace_core::model::destinations::DestinationRow;
use twtrace_core::model::host::Host;
use twtrace_core::model::memory::CacheRow;
use twtrace_core::model::namespace::NamespaceSamples;
use twtrace_core::model::netns_name::NetnsName;
use twtrace_core::model::notable::NotableEvents;
use twtrace_core::model::pairs::PairSums;
use twtrace_core::model::report::{Exact, LostRow, MissRow, UnscannedRow};
use twtrace_core::model::sums::ProcessSums;
use twtrace_core::model::tally::Tally;
use twtrace_core::model::timeline::Bucket;

use super::fold;

/// Rows of one kind that an interval has. The smallest of more are summed up in one.
const MAX_ROWS: usize = 2_000;
/// Budgets that an interval has. Most are quiet, and the fullest come first.
const MAX_BUDGETS: usize = 500;

#[derive(Clone, Debug)]
pub struct Interval {
    pub start: Moment,
    pub end: Moment,
    pub host: Host,
    /// The tier chosen for each question.
    pub tiers: Vec<Choice>,
    /// Which figures are complete.
    pub exact: Exact,
    /// Sums of what was counted from events.
    pub sum: Bucket,
    pub processes: Vec<ProcessSums>,
    /// Processes that were summed up in one row as `lost`.
    pub processes_folded: u64,
    pub destinations: Vec<DestinationRow>,
    pub pairs: Vec<PairSums>,
    /// Events without a row in `pairs`.
    pub pairs_left_out: u64,
    /// Budgets of local ports at the end, the fullest first.
    pub budgets: Vec<BudgetRow>,
    /// Budgets without a row.
    pub other_budgets: OtherBudgets,
    /// Namespaces whose budgets are not known.
    pub budgets_unknown: Vec<UnscannedRow>,
    /// Connections in CLOSE_WAIT at the end.
    pub close_wait: Vec<CloseWaitRow>,
    /// Namespaces that could not be searched for connections in CLOSE_WAIT.
    pub unscanned: Vec<UnscannedRow>,
    /// The kernel's tables at the end.
    pub caches: Vec<CacheRow>,
    /// Births that were seen, compared with those that the kernel counted in the interval.
    pub audit: Vec<AuditRow>,
    /// Names of the network namespaces that occur in it.
    pub netns_names: Vec<NetnsName>,
    pub lost: Vec<LostRow>,
    /// Runs of our programs that the kernel skipped in the interval; `None` if it does not count them.
    pub recursion_misses: Option<Vec<MissRow>>,
    /// Settings and counters of namespaces when it began; empty if they are not known.
    pub before: NamespaceSamples,
    /// The same when it ended.
    pub after: NamespaceSamples,
    /// Events that are kept individually. Not read back.
    pub events: Vec<Event>,
    /// Events that there was no room for.
    pub events_left_out: u64,
    /// Findings of `doctor`. Not read back: they are computed again for a longer time.
    pub findings: Vec<Finding>,
}

impl Interval {
    /// What was reported since the interval of this tally began.
    pub fn of(tally: &Tally, notable: NotableEvents) -> Self {
        let report = tally.report();
        let occurring = report.namespaces();
        let mut names = report.netns_names.clone();
        names.retain(|named| occurring.contains(&named.netns));
        let (Diagnosis { findings, .. }, report) = Diagnosis::of(tally, report);
        let (before, after) = tally.namespaces();
        let (processes, processes_folded) = fold::processes(tally.process_sums(), MAX_ROWS);
        let mut budgets = report.budgets;
        let mut other_budgets = report.other_budgets;
        let further = budgets.len().min(MAX_BUDGETS);
        other_budgets.add(&OtherBudgets::of(&budgets[further..]));
        budgets.truncate(MAX_BUDGETS);
        let mut pairs = tally.pairs().sums();
        let further = pairs.len().min(MAX_ROWS);
        let left_out: u64 = pairs[further..].iter().map(|row| row.counts.events()).sum();
        pairs.truncate(MAX_ROWS);
        Self {
            start: tally.tracing_start().at,
            end: tally.latest(),
            host: tally.tracing_start().host.clone(),
            tiers: report.tiers,
            exact: report.exact,
            sum: tally.timeline().sum(),
            processes,
            processes_folded,
            destinations: fold::destinations(report.destinations, MAX_ROWS),
            pairs,
            pairs_left_out: report.pairs_left_out + left_out,
            budgets,
            other_budgets,
            budgets_unknown: report.budgets_unknown,
            close_wait: fold::close_wait(report.close_wait, MAX_ROWS),
            unscanned: report.unscanned,
            caches: report.memory.caches,
            netns_names: names,
            audit: tally.audit_of_interval(),
            lost: report.lost,
            recursion_misses: tally.misses_of_interval(),
            before,
            after,
            events: notable.events,
            events_left_out: notable.left_out,
            findings,
        }
    }
}

#[cfg(test)]
#[path = "interval_tests.rs"]
mod tests;
