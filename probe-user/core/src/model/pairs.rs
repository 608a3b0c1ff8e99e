//! Events of each process by destination.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use twtrace_wire::{
    EventKind, PortOp, ProcessKey, ResetDirection, ResetReason, Side, Unattributed,
};

use super::compact_map::CompactMap;
use super::counts::Deaths;
use super::destination::Destination;
use super::reuse::Reuse;
use super::sparse::{Nothing, Sparse};
use crate::event::answerable::{Answerable, unattributed};
use crate::event::words::{self, Word};
use crate::event::{Event, EventFacts, PortAlloc, PortResult, Process};

/// Maximum number of separate pairs of process and destination; events of further ones are left out.
const MAX_PAIRS: usize = 65_536;

/// The namespace, and how many earlier ones had its number.
type Key = (u32, u32, Side, Destination, ProcessKey);

/// Figures by process and destination, from events: lower bounds if events were lost.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    rows: CompactMap<Key, PackedPair>,
    /// The process that acted last: in most cases also the next one.
    last: Option<Arc<Process>>,
    left_out: u64,
}

/// Figures of one pair: in most cases only TIME_WAITs.
#[derive(Clone, Debug, Default)]
struct PackedPair {
    /// The process at its last event. Many pairs share it.
    process: Option<Arc<Process>>,
    time_wait: u64,
    /// Everything except the process and TIME_WAITs.
    more: Option<Box<PairCounts>>,
}

impl PackedPair {
    /// Counts an event of [`counts`].
    fn apply(&mut self, event: &Event) {
        match &event.facts {
            EventFacts::TimeWait(_) => self.time_wait += 1,
            EventFacts::Reset(facts) => {
                let deaths = &mut self.more.get_or_insert_default().deaths;
                match facts.direction {
                    ResetDirection::Sent => deaths.reset_sent.add(facts.reason),
                    ResetDirection::Received => deaths.reset_received.add(facts.reason),
                }
            }
            EventFacts::Abort(facts) => {
                let more = self.more.get_or_insert_default();
                more.deaths.abort.add(facts.reason);
            }
            EventFacts::PortAlloc(facts) => {
                let more = self.more.get_or_insert_default();
                more.reuse.add(event);
                match failed_call(facts) {
                    Some(PortOp::Connect) => more.connect_failures += 1,
                    Some(PortOp::Bind) => more.bind_failures += 1,
                    _ => {}
                }
            }
            EventFacts::TimeWaitEnd(_) => {}
        }
    }

    fn add(&mut self, counts: &PairCounts) {
        self.time_wait += counts.time_wait;
        if counts.events() > counts.time_wait || !counts.reuse.is_empty() {
            let more = self.more.get_or_insert_default();
            more.add(counts);
            more.time_wait = 0;
        }
    }

    fn whole(&self) -> PairCounts {
        PairCounts {
            time_wait: self.time_wait,
            ..self.more.as_deref().cloned().unwrap_or_default()
        }
    }
}

/// The call that failed to get any local port.
fn failed_call(facts: &PortAlloc) -> Option<PortOp> {
    const NO_PORT_TO_CONNECT: u16 = libc::EADDRNOTAVAIL as u16;
    const NO_PORT_TO_BIND: u16 = libc::EADDRINUSE as u16;
    let PortResult::Failed(errno) = facts.result else {
        return None;
    };
    match (facts.op, errno.0) {
        _ if facts.requested != 0 => None,
        (PortOp::Connect, NO_PORT_TO_CONNECT) | (PortOp::Bind, NO_PORT_TO_BIND) => Some(facts.op),
        _ => None,
    }
}

/// Whether an event counts for a pair.
fn counts(event: &Event) -> bool {
    match &event.facts {
        EventFacts::TimeWait(_) => event.event == EventKind::TimeWait,
        EventFacts::Reset(_) | EventFacts::Abort(_) => true,
        EventFacts::PortAlloc(facts) => {
            let mut reuse = Reuse::default();
            reuse.add(event);
            !reuse.is_empty() || failed_call(facts).is_some()
        }
        EventFacts::TimeWaitEnd(_) => false,
    }
}

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
}

/// Figures of one process with one destination, as sums that can be added up.
#[derive(Clone, Debug)]
pub struct PairSums {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many earlier namespaces had this number since tracing began.
    pub netns_nth: u32,
    /// Which end this host's sockets were.
    pub side: Side,
    /// The destination.
    pub destination: Destination,
    /// The process, or the key for none.
    pub key: ProcessKey,
    /// The process at its last event.
    pub process: Option<Arc<Process>>,
    /// The figures.
    pub counts: PairCounts,
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

impl Pairs {
    /// Counts an event.
    pub fn apply(&mut self, event: &Event) {
        let Some(netns) = event.netns.filter(|_| counts(event)) else {
            return;
        };
        let key = (
            netns,
            event.netns_nth,
            event.side,
            Destination::of(event.side, event),
            event.answerable().key(),
        );
        let process = event.process.as_ref().map(|process| self.shared(process));
        let Some((_, row)) = self.rows.within(key, MAX_PAIRS, PackedPair::default) else {
            self.left_out += 1;
            return;
        };
        row.apply(event);
        row.process = process;
    }

    /// The current state of a process, shared between rows.
    fn shared(&mut self, process: &Process) -> Arc<Process> {
        match &self.last {
            Some(last) if last.is_as(process) => Arc::clone(last),
            _ => {
                let new = Arc::new(process.clone());
                self.last = Some(Arc::clone(&new));
                new
            }
        }
    }

    /// Adds figures that were counted elsewhere.
    pub fn add(&mut self, sums: PairSums) {
        let key = (
            sums.netns,
            sums.netns_nth,
            sums.side,
            sums.destination,
            sums.key,
        );
        let Some((_, row)) = self.rows.within(key, MAX_PAIRS, PackedPair::default) else {
            self.left_out += sums.counts.events();
            return;
        };
        row.add(&sums.counts);
        row.process = sums.process;
    }

    /// Adds events that found no room elsewhere.
    pub fn add_left_out(&mut self, events: u64) {
        self.left_out += events;
    }

    /// The rows as sums that can be added up, those with the most first.
    pub fn sums(&self) -> Vec<PairSums> {
        let rows = self.rows.iter();
        let mut sums: Vec<PairSums> = rows
            .map(
                |((netns, netns_nth, side, destination, key), pair)| PairSums {
                    netns: *netns,
                    netns_nth: *netns_nth,
                    side: *side,
                    destination: *destination,
                    key: *key,
                    process: pair.process.clone(),
                    counts: pair.whole(),
                },
            )
            .collect();
        sums.sort_by_cached_key(|row| {
            let place = (
                (row.netns, row.netns_nth),
                row.side as u32,
                row.destination,
                row.key,
            );
            (std::cmp::Reverse(row.counts.events()), place)
        });
        sums
    }

    /// The rows, those with the most TIME_WAITs first, then those with the most RSTs.
    pub fn rows(&self) -> Vec<PairRow> {
        let mut rows: Vec<PairRow> = self
            .rows
            .iter()
            .map(
                |((netns, netns_nth, side, destination, key), pair)| PairRow {
                    netns: *netns,
                    netns_nth: *netns_nth,
                    side: *side,
                    destination: *destination,
                    process: pair.process.clone(),
                    unattributed: unattributed(*key),
                    counts: pair.whole(),
                },
            )
            .collect();
        rows.sort_by_cached_key(|row| {
            let figures = (
                row.counts.time_wait,
                row.counts.resets(),
                row.counts.connect_failures + row.counts.bind_failures,
            );
            let place = (
                (row.netns, row.netns_nth),
                row.side as u32,
                row.destination,
                row.answerable().key(),
            );
            (std::cmp::Reverse(figures), place)
        });
        rows
    }

    /// Number of events that found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn events_are_counted_by_process_and_destination() {
        let mut pairs = Pairs::default();
        pairs.apply(&samples::time_wait());
        pairs.apply(&samples::time_wait());
        pairs.apply(&samples::reset());
        pairs.apply(&samples::port_alloc());
        pairs.apply(&samples::abort());
        pairs.apply(&samples::time_wait_end());
        let mut nobodys = samples::time_wait();
        nobodys.process = None;
        pairs.apply(&nobodys);
        let rows = pairs.rows();
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!(rows[0].name(), "curl(1234)");
        let counts = &rows[0].counts;
        assert_eq!((counts.time_wait, counts.linger_zero()), (2, 1));
        assert_eq!((counts.resets(), counts.deaths.abort.total()), (1, 1));
        assert_eq!(counts.connect_failures, 1);
        assert_eq!(counts.reuse.hindered, 1);
        assert_eq!(counts.events(), 5);
        assert_eq!((&*rows[1].name(), rows[1].counts.time_wait), (NOBODY, 1));
        assert_eq!(pairs.left_out(), 0);
        let mut again = Pairs::default();
        for sums in pairs.sums().into_iter().chain(pairs.sums()) {
            again.add(sums);
        }
        assert_eq!(again.rows()[0].counts.events(), 10);
    }

    #[test]
    fn earlier_namespaces_of_a_number_are_left_out() {
        let mut pairs = Pairs::default();
        let mut event = samples::time_wait();
        pairs.apply(&event);
        event.netns_nth = 1;
        pairs.apply(&event);
        let rows = pairs.rows();
        assert_eq!(rows.len(), 2);
        let last = of_last_namespaces(&rows);
        assert_eq!((last.len(), last[0].netns_nth), (1, 1));
    }
}
