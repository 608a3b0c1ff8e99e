//! Figures of one process with one destination: a row of the report.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use twtrace_wire::{EventKind, ResetReason, Side, Unattributed};

use super::counts::Deaths;
use super::destination::Destination;
use super::lives::Lives;
use super::resets::ResetPatterns;
use super::resets::closings::Closings;
use super::resets::outage::Outage;
use super::reuse::Reuse;
use super::sparse::{Nothing, Sparse};
use super::unanswered::Unanswered;
use super::unconnected::Unconnected;
use crate::event::Process;
use crate::event::answerable::Answerable;
use crate::event::words::{self, Word};

/// Figures of one process with one destination.
#[derive(Clone, Debug)]
pub struct PairRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many earlier namespaces had this number since tracing began.
    pub netns_nth: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// The destination.
    pub destination: Destination,
    /// The process at its last event.
    pub process: Option<Arc<Process>>,
    /// Why there is none.
    pub unattributed: Option<Unattributed>,
    /// The figures.
    pub counts: PairCounts,
}

impl PairRow {
    /// Who is answerable.
    pub fn answerable(&self) -> Answerable<'_> {
        Answerable::of(self.process.as_deref(), self.unattributed)
    }

    /// The displayed name of the process: `nginx(7)`, or `(unknown)`. Untrusted: escape it before printing.
    pub fn name(&self) -> Cow<'static, str> {
        match &self.process {
            Some(process) => name(process).into(),
            None => NOBODY.into(),
        }
    }
}

/// Figures of one pair.
#[derive(Clone, Debug, Default)]
pub struct PairCounts {
    /// TIME_WAITs created by closing first.
    pub time_wait: u64,
    /// RSTs and aborts.
    pub deaths: Sparse<Deaths>,
    /// connect() calls that found no local port.
    pub connect_failures: u64,
    /// bind() calls to any port that found none.
    pub bind_failures: u64,
    /// Its connects that found TIME_WAITs they could not reuse. Reused ones are not counted here.
    pub reuse: Reuse,
    /// Times of its RSTs, and who was at the other end; empty if they were read from a history.
    pub patterns: Sparse<ResetPatterns>,
    /// How the connections passed that it closed first; empty if there are few, or if they were read from a history.
    pub lives: Sparse<Lives>,
    /// Connections that it closed at once; empty if they were read from a history.
    pub closings: Sparse<Closings>,
    /// Those of `time_wait` that were closed while a request waited for its answer; empty if they were read from a history.
    pub unanswered: Sparse<Unanswered>,
    /// Connects that nobody answered; empty if they were read from a history.
    pub unconnected: Sparse<Unconnected>,
    /// Connections that the destination refused, those of other processes too; `None` if it refused none, or if they were
    /// read from a history.
    pub outage: Option<Outage>,
}

impl PairCounts {
    /// Adds the figures of another pair.
    pub fn add(&mut self, other: &Self) {
        self.time_wait += other.time_wait;
        if !other.deaths.is_nothing() {
            self.deaths.add_all(&other.deaths);
        }
        self.connect_failures += other.connect_failures;
        self.bind_failures += other.bind_failures;
        self.reuse.add_all(&other.reuse);
        if !other.patterns.is_nothing() {
            self.patterns.add_all(&other.patterns);
        }
        if !other.lives.is_nothing() {
            self.lives.add_all(&other.lives);
        }
        if !other.closings.is_nothing() {
            self.closings.add_all(&other.closings);
        }
        if !other.unanswered.is_nothing() {
            self.unanswered.add_all(&other.unanswered);
        }
        if !other.unconnected.is_nothing() {
            self.unconnected.add_all(&other.unconnected);
        }
        self.outage = self.outage.or(other.outage);
    }

    /// Removes the kinds of events that are not shown.
    pub fn keep_only(&mut self, is_shown: impl Fn(EventKind) -> bool) {
        if !is_shown(EventKind::TimeWait) {
            self.time_wait = 0;
            self.lives = Sparse::default();
            self.unanswered = Sparse::default();
        }
        if !is_shown(EventKind::Abort) {
            self.unconnected = Sparse::default();
        }
        self.deaths.keep_only(&is_shown);
        if !is_shown(EventKind::Reset) {
            self.patterns = Sparse::default();
            self.closings = Sparse::default();
        }
        if !is_shown(EventKind::PortAlloc) {
            self.connect_failures = 0;
            self.bind_failures = 0;
            self.reuse = Reuse::default();
        }
    }

    /// RSTs sent by closing with SO_LINGER 0.
    pub fn linger_zero(&self) -> u64 {
        self.deaths.reset_sent.of(ResetReason::LingerZero)
    }

    /// RSTs sent and received.
    pub fn resets(&self) -> u64 {
        self.deaths.reset_sent.total() + self.deaths.reset_received.total()
    }

    /// Number of events that are counted here.
    pub fn events(&self) -> u64 {
        let allocations = self.connect_failures + self.bind_failures;
        self.time_wait
            + self.resets()
            + self.deaths.abort.total()
            + allocations.max(self.reuse.hindered)
    }
}

/// The rows of the last namespace that had each number: earlier ones no longer exist.
pub fn of_last_namespaces(rows: &[PairRow]) -> Vec<PairRow> {
    let mut last: HashMap<u32, u32> = HashMap::new();
    for row in rows {
        let last = last.entry(row.netns).or_default();
        *last = (*last).max(row.netns_nth);
    }
    let is_last = |row: &&PairRow| last.get(&row.netns) == Some(&row.netns_nth);
    rows.iter().filter(is_last).cloned().collect()
}

/// The name of an unknown process.
pub const NOBODY: &str = "(unknown)";

/// Such as `nginx(7)`. The name is untrusted: escape it before printing.
pub fn name(process: &Process) -> String {
    format!("{}({})", process.comm.text(), process.key.tgid)
}

/// The object of a pair.
#[derive(schemars::JsonSchema, Serialize)]
#[schemars(rename = "PairRow")]
struct PairRowJson<'a> {
    /// Inode number of the network namespace.
    netns: u32,
    /// How many earlier namespaces had this number since tracing began.
    #[serde(skip_serializing_if = "crate::event::is_first")]
    netns_nth: u32,
    /// Which end this host's sockets were.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<Side>")]
    side: Side,
    /// Client: `address:port`; side unknown: the address alone.
    remote: Option<String>,
    /// Server, or what was bound for either side: `:port`.
    local: Option<String>,
    /// The process; null if none is known.
    process: Option<&'a Process>,
    /// Why none is known.
    #[schemars(with = "Option<crate::event::schema::WordOf<Unattributed>>")]
    unattributed: Option<&'static str>,
    /// TIME_WAITs created.
    time_wait: u64,
    /// Resets and aborts.
    #[serde(flatten)]
    deaths: &'a Deaths,
    /// connect() calls that found no local port.
    connect_failures: u64,
    /// bind() calls to any port that found none.
    bind_failures: u64,
}

impl schemars::JsonSchema for PairRow {
    fn schema_name() -> Cow<'static, str> {
        "PairRow".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        PairRowJson::json_schema(generator)
    }
}

impl Serialize for PairRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        PairRowJson {
            netns: self.netns,
            netns_nth: self.netns_nth,
            side: self.side,
            remote: self.destination.remote(),
            local: self.destination.local(),
            process: self.process.as_deref(),
            unattributed: self.unattributed.map(Word::word),
            time_wait: self.counts.time_wait,
            deaths: &self.counts.deaths,
            connect_failures: self.counts.connect_failures,
            bind_failures: self.counts.bind_failures,
        }
        .serialize(serializer)
    }
}
