//! Observations as lines of a recording, and back.
//!
//! Each line has the fields `ts`, `mono_ns`, `event` (`sockets`, `namespaces`, `names`, `close_wait`, `port_holders`, `pool_holders`, `memory`,
//! `audit`, `totals`, `stacks`, `told`, `family`, `exited`, `end`), and `part` of `parts`. A long observation takes several
//! lines, and counts when its last line is read. An observation that lacks a line is left out. One that is longer
//! than any that twtrace writes ([`MAX_TEXT`]) is an error, so that an untrusted file can't fill the memory part by
//! part.

mod close_wait;
mod evidence;
pub mod namespaces;
mod sockets;
mod totals;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use twtrace_core::event::{Moment, Process, Timestamp};
use twtrace_core::model::audit::AuditRow;
use twtrace_core::model::budget::evidence::EvidenceDelta;
use twtrace_core::model::budget::holders::PoolHolders;
use twtrace_core::model::memory::CacheRow;
use twtrace_core::model::netns_name::NetnsName;
use twtrace_core::model::observation::{CloseWait, KernelTotals, Observation, ObservationData};
use twtrace_core::model::stacks::StackRow;

/// Text of all lines of one observation, bytes: enough for millions of sockets.
const MAX_TEXT: usize = 256 << 20;

/// The kind of observation that a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservationKind {
    Sockets,
    Namespaces,
    Names,
    CloseWait,
    PortHolders,
    PoolHolders,
    Memory,
    Audit,
    Totals,
    Stacks,
    #[serde(rename = "told")]
    Evidence,
    Family,
    Exited,
    End,
}

#[derive(Serialize)]
struct ObservationLine<B> {
    ts: Timestamp,
    mono_ns: u64,
    event: ObservationKind,
    part: u32,
    parts: u32,
    #[serde(flatten)]
    body: B,
}

const fn one() -> u32 {
    1
}

/// The fields that identify a line.
#[derive(Deserialize)]
struct Head {
    ts: Timestamp,
    mono_ns: u64,
    event: ObservationKind,
    #[serde(default = "one")]
    part: u32,
    #[serde(default = "one")]
    parts: u32,
}

#[derive(Serialize, Deserialize)]
struct Memory {
    caches: Vec<CacheRow>,
}

#[derive(Serialize, Deserialize)]
struct Pools {
    pools: Vec<PoolHolders>,
}

#[derive(Serialize, Deserialize)]
struct Names {
    names: Vec<NetnsName>,
}

#[derive(Serialize, Deserialize)]
struct Audit {
    rows: Vec<AuditRow>,
}

#[derive(Serialize, Deserialize)]
struct Stacks {
    rows: Vec<StackRow>,
}

const STACKS_A_LINE: usize = 500;

impl Parts for Vec<StackRow> {
    type Part = Stacks;

    fn cut(&self) -> Vec<Stacks> {
        let chunks = chunks(self, STACKS_A_LINE).into_iter();
        chunks.map(|rows| Stacks { rows }).collect()
    }

    fn add(&mut self, part: Stacks) {
        self.extend(part.rows);
    }
}

#[derive(Serialize, Deserialize)]
struct Family {
    processes: Vec<Process>,
}

const PROCESSES_A_LINE: usize = 1_000;

impl Parts for Vec<Process> {
    type Part = Family;

    fn cut(&self) -> Vec<Family> {
        let chunks = chunks(self, PROCESSES_A_LINE).into_iter();
        chunks.map(|processes| Family { processes }).collect()
    }

    fn add(&mut self, part: Family) {
        self.extend(part.processes);
    }
}

#[derive(Serialize)]
struct End {}

/// An observation that may take several lines.
trait Parts: Sized {
    /// What one line has.
    type Part: Serialize + DeserializeOwned;

    /// Splits it: into at least one part.
    fn cut(&self) -> Vec<Self::Part>;

    /// Appends the next part.
    fn add(&mut self, part: Self::Part);
}

/// Appends an observation's lines.
///
/// # Errors
/// If a value has no JSON form.
pub fn append(text: &mut Vec<u8>, observation: &Observation) -> serde_json::Result<()> {
    let mut lines = Lines {
        at: observation.at,
        text,
    };
    match &observation.data {
        ObservationData::Sockets(samples) => lines.all(ObservationKind::Sockets, samples.cut()),
        ObservationData::Namespaces(samples) => {
            lines.all(ObservationKind::Namespaces, [namespaces::body(samples)])
        }
        ObservationData::Names(names) => lines.all(
            ObservationKind::Names,
            [Names {
                names: names.clone(),
            }],
        ),
        ObservationData::CloseWait(close_wait) => {
            lines.all(ObservationKind::CloseWait, close_wait.cut())
        }
        ObservationData::PortHolders(holders) => lines.all(ObservationKind::PortHolders, [holders]),
        ObservationData::PoolHolders(pools) => lines.all(
            ObservationKind::PoolHolders,
            [Pools {
                pools: pools.clone(),
            }],
        ),
        ObservationData::Memory(caches) => lines.all(
            ObservationKind::Memory,
            [Memory {
                caches: caches.clone(),
            }],
        ),
        ObservationData::Audit(rows) => {
            lines.all(ObservationKind::Audit, [Audit { rows: rows.clone() }])
        }
        ObservationData::Totals(totals) => lines.all(ObservationKind::Totals, totals.cut()),
        ObservationData::Stacks(rows) => lines.all(ObservationKind::Stacks, rows.cut()),
        ObservationData::Evidence(delta) => lines.all(ObservationKind::Evidence, delta.cut()),
        ObservationData::Family(processes) => lines.all(ObservationKind::Family, processes.cut()),
        ObservationData::Exited(processes) => lines.all(ObservationKind::Exited, processes.cut()),
        ObservationData::End => lines.all(ObservationKind::End, [End {}]),
    }
}

struct Lines<'a> {
    at: Moment,
    text: &'a mut Vec<u8>,
}

impl Lines<'_> {
    fn all<B: Serialize>(
        &mut self,
        event: ObservationKind,
        bodies: impl IntoIterator<Item = B, IntoIter: ExactSizeIterator>,
    ) -> serde_json::Result<()> {
        let bodies = bodies.into_iter();
        let parts = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
        for (part, body) in (1..).zip(bodies) {
            let line = ObservationLine {
                ts: self.at.ts,
                mono_ns: self.at.mono_ns,
                event,
                part,
                parts,
                body,
            };
            serde_json::to_writer(&mut *self.text, &line)?;
            self.text.push(b'\n');
        }
        Ok(())
    }
}

/// Joins the lines of one recording to observations.
#[derive(Debug, Default)]
pub struct Assembler {
    sockets: Pending<twtrace_core::model::budget::ledger::SocketSamples>,
    close_wait: Pending<CloseWait>,
    totals: Pending<KernelTotals>,
    stacks: Pending<Vec<StackRow>>,
    evidence: Pending<EvidenceDelta>,
    family: Pending<Vec<Process>>,
    exited: Pending<Vec<Process>>,
}

/// An observation of which only some parts were read.
#[derive(Debug)]
struct Pending<T> {
    at: Option<Moment>,
    next: u32,
    /// Total of the lines so far.
    text_bytes: usize,
    value: T,
}

impl<T: Default> Default for Pending<T> {
    fn default() -> Self {
        Self {
            at: None,
            next: 1,
            text_bytes: 0,
            value: T::default(),
        }
    }
}

impl<T: Parts + Default> Pending<T> {
    /// Returns the whole with the last part. A part out of order discards what was read before.
    fn take(&mut self, head: &Head, line: &[u8]) -> serde_json::Result<Option<T>> {
        let at = head.at();
        if head.part == 1 {
            *self = Self {
                at: Some(at),
                ..Self::default()
            };
        }
        if self.at != Some(at) || head.part != self.next {
            *self = Self::default();
            return Ok(None);
        }
        self.text_bytes = self.text_bytes.saturating_add(line.len());
        if self.text_bytes > MAX_TEXT {
            *self = Self::default();
            let why = format!("its observation is longer than {} MiB", MAX_TEXT >> 20);
            return Err(serde_json::Error::custom(why));
        }
        self.value.add(body(line)?);
        self.next += 1;
        Ok((head.part >= head.parts).then(|| std::mem::take(self).value))
    }
}

impl Head {
    fn at(&self) -> Moment {
        Moment {
            ts: self.ts,
            mono_ns: self.mono_ns,
        }
    }
}

impl Assembler {
    /// Whether lines with this word in their field `event` are observations.
    pub fn knows(event: &str) -> bool {
        serde_json::from_value::<ObservationKind>(event.into()).is_ok()
    }

    /// Takes a line of an observation. Returns the whole observation if this is its last line.
    ///
    /// # Errors
    /// If the line is not as this version writes it.
    pub fn take(&mut self, line: &[u8]) -> serde_json::Result<Option<Observation>> {
        let head: Head = serde_json::from_slice(line)?;
        let data = match head.event {
            ObservationKind::Sockets => self
                .sockets
                .take(&head, line)?
                .map(ObservationData::Sockets),
            ObservationKind::Namespaces => Some(ObservationData::Namespaces(namespaces::samples(
                body(line)?,
            ))),
            ObservationKind::Names => Some(ObservationData::Names(body::<Names>(line)?.names)),
            ObservationKind::CloseWait => self
                .close_wait
                .take(&head, line)?
                .map(ObservationData::CloseWait),
            ObservationKind::PortHolders => Some(ObservationData::PortHolders(body(line)?)),
            ObservationKind::PoolHolders => {
                Some(ObservationData::PoolHolders(body::<Pools>(line)?.pools))
            }
            ObservationKind::Memory => Some(ObservationData::Memory(body::<Memory>(line)?.caches)),
            ObservationKind::Audit => Some(ObservationData::Audit(body::<Audit>(line)?.rows)),
            ObservationKind::Totals => self.totals.take(&head, line)?.map(ObservationData::Totals),
            ObservationKind::Stacks => self.stacks.take(&head, line)?.map(ObservationData::Stacks),
            ObservationKind::Evidence => self
                .evidence
                .take(&head, line)?
                .map(ObservationData::Evidence),
            ObservationKind::Family => self.family.take(&head, line)?.map(ObservationData::Family),
            ObservationKind::Exited => self.exited.take(&head, line)?.map(ObservationData::Exited),
            ObservationKind::End => Some(ObservationData::End),
        };
        Ok(data.map(|data| Observation {
            at: head.at(),
            data,
        }))
    }
}

fn body<B: DeserializeOwned>(line: &[u8]) -> serde_json::Result<B> {
    serde_json::from_slice(line)
}

/// Splits rows into parts of `size`, at least one.
fn chunks<T: Clone>(rows: &[T], size: usize) -> Vec<Vec<T>> {
    if rows.is_empty() {
        vec![Vec::new()]
    } else {
        rows.chunks(size).map(<[T]>::to_vec).collect()
    }
}

#[cfg(test)]
#[path = "observation_tests.rs"]
mod tests;
