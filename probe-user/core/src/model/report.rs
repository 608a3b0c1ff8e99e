//! The report document: what `report --json` prints, and what tables are made of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};
use twtrace_wire::{EndCause, EventKind, PortOp, PortTotals, ProcessKey, Side, Unattributed};

use super::audit::AuditRow;
use super::budget::row::{BudgetRow, OtherBudgets};
use super::close_wait::CloseWaitRow;
use super::counts::{Counts, Deaths};
use super::coverage::Coverage;
use super::destination::DestinationRow;
use super::exactness::{Figures, Inexact};
use super::memory::Memory;
use super::quantile;
use super::residence::Quantiles;
use super::reuse::Reuse;
use super::stacks::StackRow;
use super::without_process;
use crate::event::by::By;
use crate::event::decode::unattributed;
use crate::event::words::{self, Word};
use crate::event::{LostBy, Process, Timestamp};
use crate::filter::Filter;
use crate::hooks::{Choice, sees_ends, tell_refused_reuse};
use crate::model::netns_name::NetnsName;

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
        tell_refused_reuse(&self.tiers)
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

/// Which figures are complete; the others are lower bounds, or presumed.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Exact {
    /// Rows by process.
    pub processes: bool,
    /// Rows by destination.
    pub destinations: bool,
    /// Why connects could not take TIME_WAITs: [`Reuse::hindered`] and [`Reuse::refused`]. Also false where that is not
    /// seen at all.
    pub refused_reuse: bool,
    /// Ends of TIME_WAITs, and what follows from them: ages, reuse, and who has how many alive. Also false where they are not
    /// seen but presumed.
    pub ends: bool,
}

impl Exact {
    /// Whether these are.
    pub fn is(self, figures: Figures) -> bool {
        match figures {
            Figures::Processes => self.processes,
            Figures::Destinations => self.destinations,
            Figures::RefusedReuse => self.refused_reuse,
            Figures::Ends => self.ends,
        }
    }
}

/// What one process did.
#[derive(Clone, Debug)]
pub struct ProcessRow {
    /// The process, or `None` for facts that have none.
    pub process: Option<Process>,
    /// Why there is none.
    pub unattributed: Option<Unattributed>,
    /// TIME_WAITs, resets and aborts.
    pub counts: Counts,
    /// Ages of its TIME_WAITs that went; `None` where none did, or none whose age is known.
    pub residence: Option<Quantiles>,
    /// TIME_WAITs, whoever made them, that its connects took or could not take.
    pub reuse: Reuse,
    /// Port searches, by operation.
    pub ports: Vec<PortRow>,
}

/// Port searches of one process by one operation.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct PortRow {
    /// The system call.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<PortOp>")]
    pub op: PortOp,
    /// Whether latencies are those of the search itself; else they are upper bounds.
    pub exact: bool,
    /// Searches, whatever their result.
    pub count: u64,
    /// Searches that failed.
    pub failures: u64,
    /// Searches whose latency is not known.
    pub untimed: u64,
    /// Median latency, nanoseconds.
    pub p50_ns: Option<u64>,
    /// 99th percentile, nanoseconds.
    pub p99_ns: Option<u64>,
    /// The longest search, nanoseconds.
    pub max_ns: Option<u64>,
}

/// A namespace whose sockets could not be listed.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnscannedRow {
    /// Its inode number.
    pub netns: u32,
    /// What stood in the way.
    pub why: String,
}

/// What one probe lost.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LostRow {
    /// The probe.
    pub probe: LostBy,
    /// How much.
    pub count: u64,
}

/// How often the kernel skipped one of our programs.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissRow {
    /// The program.
    pub program: String,
    /// How often.
    pub count: u64,
}

impl ProcessRow {
    /// A row without figures.
    pub fn new(process: Option<Process>, key: ProcessKey) -> Self {
        Self {
            process,
            unattributed: unattributed(key),
            counts: Counts::default(),
            residence: None,
            reuse: Reuse::default(),
            ports: Vec::new(),
        }
    }

    /// Who it is; where there is no process, the reason.
    pub fn key(&self) -> ProcessKey {
        match (&self.process, self.unattributed) {
            (Some(process), _) => process.key,
            (None, reason) => without_process(reason.unwrap_or(Unattributed::Unknown)),
        }
    }

    /// The figures that a filter by event shows.
    pub fn only(mut self, filter: &Filter) -> Self {
        self.counts.keep_only(|kind| filter.shows_kind(kind));
        if !filter.shows_kind(EventKind::TimeWaitEnd) {
            self.residence = None;
            self.reuse.taken = 0;
        }
        if !filter.shows_kind(EventKind::PortAlloc) {
            self.ports.clear();
            self.reuse.forget_refused();
        }
        self.ports
            .sort_by_key(|port| (port.op, std::cmp::Reverse(port.exact)));
        self
    }

    fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.ports.is_empty() && self.reuse.is_empty()
    }
}

/// Rows with figures: those with the most TIME_WAITs first, then resets, then port searches.
pub fn sorted(rows: impl Iterator<Item = ProcessRow>) -> Vec<ProcessRow> {
    let mut rows: Vec<ProcessRow> = rows.filter(|row| !row.is_empty()).collect();
    rows.sort_by_cached_key(|row| {
        let figures = (
            row.counts.time_wait.total() + row.counts.overflow.total(),
            row.counts.resets(),
            row.counts.abort.total(),
            row.ports.iter().map(|port| port.count).sum::<u64>(),
        );
        (
            std::cmp::Reverse(figures),
            row.process.as_ref().map(|process| process.key),
            row.unattributed,
        )
    });
    rows
}

impl PortRow {
    /// From a histogram.
    pub fn new(op: PortOp, exact: bool, totals: &PortTotals) -> Self {
        let p50_ns = quantile::latency_ns(totals, 0.5);
        Self {
            op,
            exact,
            count: totals.count,
            failures: totals.failures,
            untimed: totals.untimed,
            p50_ns,
            p99_ns: quantile::latency_ns(totals, 0.99),
            max_ns: p50_ns.map(|_| totals.max_ns),
        }
    }
}

/// The object of a process row.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "ProcessRow")]
#[derive(Serialize)]
struct ProcessRowJson<'a> {
    process: &'a Option<Process>,
    #[schemars(with = "Option<crate::event::schema::WordOf<Unattributed>>")]
    unattributed: Option<&'static str>,
    #[schemars(with = "crate::event::schema::EachSide")]
    time_wait: BySide<'a>,
    #[schemars(with = "crate::event::schema::EachSide")]
    fin_wait2: BySide<'a>,
    #[schemars(with = "crate::event::schema::EachSide")]
    overflow: BySide<'a>,
    ended: &'a By<EndCause, { EndCause::COUNT }>,
    residence: Option<Quantiles>,
    #[serde(flatten)]
    deaths: Deaths,
    reuse: &'a Reuse,
    ports: &'a [PortRow],
}

impl schemars::JsonSchema for ProcessRow {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ProcessRow".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<ProcessRowJson>()
    }
}

impl Serialize for ProcessRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ProcessRowJson {
            process: &self.process,
            unattributed: self.unattributed.map(Word::word),
            time_wait: BySide(&self.counts.time_wait),
            fin_wait2: BySide(&self.counts.fin_wait2),
            overflow: BySide(&self.counts.overflow),
            ended: &self.counts.ended,
            residence: self.residence,
            deaths: Deaths::of(&self.counts),
            reuse: &self.reuse,
            ports: &self.ports,
        }
        .serialize(serializer)
    }
}

/// All three sides, also those with nothing.
struct BySide<'a>(&'a By<Side, { Side::COUNT }>);

impl Serialize for BySide<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(Side::COUNT))?;
        for side in [Side::Client, Side::Server, Side::Unknown] {
            map.serialize_entry(side.word(), &self.0.of(side))?;
        }
        map.end()
    }
}
