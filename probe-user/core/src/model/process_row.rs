//! Figures of one process: a row of the report.

use serde::{Serialize, Serializer};
use twtrace_wire::{EndCause, EventKind, PortOp, PortTotals, ProcessKey, Side, Unattributed};

use super::counts::{Counts, Deaths};
use super::quantile;
use super::residence::Quantiles;
use super::reuse::Reuse;
use crate::event::Process;
use crate::event::answerable::{Answerable, unattributed};
use crate::event::counts_by::CountsBy;
use crate::event::words::{self, Word};
use crate::filter::Filter;

/// Figures of one process.
#[derive(Clone, Debug)]
pub struct ProcessRow {
    /// The process, or `None` for events without one.
    pub process: Option<Process>,
    /// Why there is none.
    pub unattributed: Option<Unattributed>,
    /// TIME_WAITs, resets and aborts.
    pub counts: Counts,
    /// Ages of its TIME_WAITs that ended; `None` if none did, or none with a known age.
    pub residence: Option<Quantiles>,
    /// TIME_WAITs of any process that its connects reused or could not reuse.
    pub reuse: Reuse,
    /// Port allocations, by operation.
    pub ports: Vec<PortRow>,
}

/// Port allocations of one process by one operation.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct PortRow {
    /// The system call.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<PortOp>")]
    pub op: PortOp,
    /// Whether latencies are those of the allocation itself; otherwise they are upper bounds.
    pub exact: bool,
    /// Allocations, with any result.
    pub count: u64,
    /// Allocations that failed.
    pub failures: u64,
    /// Allocations whose latency is not known.
    pub untimed: u64,
    /// Median latency, nanoseconds.
    pub p50_ns: Option<u64>,
    /// 99th percentile, nanoseconds.
    pub p99_ns: Option<u64>,
    /// The longest allocation, nanoseconds.
    pub max_ns: Option<u64>,
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

    /// The key of the process; without a process, the reason.
    pub fn key(&self) -> ProcessKey {
        self.answerable().key()
    }

    /// The same, as an enum.
    pub fn answerable(&self) -> Answerable<'_> {
        Answerable::of(self.process.as_ref(), self.unattributed)
    }

    /// The figures that a filter for events shows.
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

    /// Ephemeral port allocations that failed, of all operations.
    pub fn port_failures(&self) -> u64 {
        self.ports.iter().map(|port| port.failures).sum()
    }

    fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.ports.is_empty() && self.reuse.is_empty()
    }
}

/// Rows with figures: those with the most TIME_WAITs first, then resets, then port allocations.
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
    ended: &'a CountsBy<EndCause, { EndCause::COUNT }>,
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

/// All three sides, including those that are 0.
struct BySide<'a>(&'a CountsBy<Side, { Side::COUNT }>);

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
