//! The way back: from a line of the JSON contract to what it tells.
//!
//! A line that a later version wrote may have fields and kinds of events that this one does not know: these are
//! passed over. A word that is not known is taken for its set's `unknown` or `other`, where it has one.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::value::RawValue;
use twtrace_wire::{
    AbortReason, EndCause, EventKind, PortOp, ResetDirection, ResetReason, ReuseRefusal, Side,
    TcpState, Unattributed,
};

use super::as_written::Day;
use super::borrowed::Text;
use super::by::By;
use super::errno::Errno;
use super::kernel_reason::KernelReason;
use super::words::Word;
use super::{
    Abort, Event, Facts, Flow, Lost, LostBy, PortAlloc, PortResult, Process, Reset, SocketRange,
    TimeWait, TimeWaitEnd, Timestamp,
};

/// Processes, and reasons of the kernel, that are kept.
const CACHED: usize = 8_192;
/// Places of those that were read last.
pub(super) const LATEST: usize = 64;
/// Bytes of their text, likewise: a line of a stranger may be long.
const CACHED_TEXT: usize = 16 << 20;
/// Characters of a stranger's text that a message holds.
const QUOTED: usize = 160;

/// What a line tells.
#[derive(Debug)]
pub enum Told {
    /// An event.
    Event(Box<Event>),
    /// Something was lost.
    Lost(Lost),
    /// Something else, by the word in its field `event`.
    Other(String),
}

/// Why a line can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is no JSON, or a field is missing or of another kind.
    #[error("{0}")]
    Json(String),
    /// A field's text is not of the contract.
    #[error("{field} is {text:?}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its text.
        text: String,
    },
}

impl From<serde_json::Error> for ParseError {
    /// Such an error quotes what it did not expect, however long that is.
    fn from(error: serde_json::Error) -> Self {
        let whole = error.to_string();
        Self::Json(match whole.char_indices().nth(QUOTED) {
            Some((end, _)) => format!("{}...", &whole[..end]),
            None => whole,
        })
    }
}

/// Reads lines. Keeps processes that it has read, as they come again and again.
#[derive(Debug, Default)]
pub struct Parser {
    processes: HashMap<Box<str>, Process>,
    /// Bytes of the keys of `processes`.
    processes_text: usize,
    /// Those read last, each in a place by its pid: the opener is mostly the process itself, and comes again.
    pub(super) latest: Vec<Option<ProcessText>>,
    reasons: HashMap<Box<str>, KernelReason>,
    pub(super) day: Day,
}

/// A process, and how it is written.
#[derive(Debug)]
pub(super) struct ProcessText {
    pub(super) text: Box<str>,
    pub(super) process: Process,
}

/// Every field of every kind.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    ts: Text<'a>,
    mono_ns: u64,
    #[serde(borrow)]
    event: Text<'a>,
    netns: Option<u32>,
    #[serde(default)]
    netns_nth: u32,
    #[serde(borrow)]
    local: Option<Text<'a>>,
    #[serde(borrow)]
    remote: Option<Text<'a>>,
    #[serde(default)]
    mapped: bool,
    #[serde(borrow)]
    side: Option<Text<'a>>,
    #[serde(borrow)]
    process: Option<&'a RawValue>,
    #[serde(borrow)]
    unattributed: Option<Text<'a>>,
    #[serde(borrow)]
    opener: Option<&'a RawValue>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
    #[serde(borrow)]
    from: Option<Text<'a>>,
    connection_ns: Option<u64>,
    idle_ns: Option<u64>,
    peer_silent_ns: Option<u64>,
    send_idle_ns: Option<u64>,
    after_close_ns: Option<u64>,
    bytes_sent: Option<u64>,
    bytes_received: Option<u64>,
    #[serde(default)]
    inferred: bool,
    #[serde(borrow)]
    cause: Option<Text<'a>>,
    age_ns: Option<u64>,
    promoted_ns: Option<u64>,
    #[serde(borrow)]
    by: Option<&'a RawValue>,
    #[serde(borrow)]
    direction: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    kernel_reason: Option<Text<'a>>,
    #[serde(borrow)]
    op: Option<Text<'a>>,
    #[serde(default)]
    requested: u16,
    #[serde(borrow)]
    result: Option<Text<'a>>,
    latency_ns: Option<u64>,
    #[serde(default)]
    exact: bool,
    refused_reuse: Option<By<ReuseRefusal, { ReuseRefusal::COUNT }>>,
    socket_range: Option<SocketRange>,
    #[serde(borrow)]
    probe: Option<Text<'a>>,
    count: Option<u64>,
}

/// The fields that every line has.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    event: Text<'a>,
}

impl Parser {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is not of the contract.
    pub fn parse(&mut self, line: &[u8]) -> Result<Told, ParseError> {
        if let Some(event) = self.as_written(line) {
            return Ok(Told::Event(Box::new(event)));
        }
        self.parse_any(line)
    }

    /// The long way.
    pub(super) fn parse_any(&mut self, line: &[u8]) -> Result<Told, ParseError> {
        // Once for the line, not for each text in it.
        let line = str::from_utf8(line).map_err(|error| ParseError::Json(error.to_string()))?;
        let line: Line = match serde_json::from_str(line) {
            Ok(line) => line,
            // Of other kinds, fields of the same name may have other types.
            Err(error) => match serde_json::from_str::<Head>(line) {
                Ok(head) if is_other(&head.event) => {
                    return Ok(Told::Other(head.event.to_owned()));
                }
                _ => return Err(error.into()),
            },
        };
        let Some(kind) = EventKind::from_word(&line.event) else {
            return match &*line.event {
                "lost" => Ok(Told::Lost(lost(&line)?)),
                other => Ok(Told::Other(other.to_owned())),
            };
        };
        Ok(Told::Event(Box::new(Event {
            ts: timestamp(&line)?,
            mono_ns: line.mono_ns,
            event: kind,
            netns: line.netns,
            netns_nth: line.netns_nth,
            local: address("local", line.local.as_deref())?,
            remote: address("remote", line.remote.as_deref())?,
            mapped: line.mapped,
            side: word_or(line.side.as_deref(), Side::Unknown).unwrap_or(Side::Unknown),
            process: self.process_or_null(line.process)?,
            unattributed: word_or(line.unattributed.as_deref(), Unattributed::Unknown),
            opener: self.process_or_null(line.opener)?,
            facts: self.facts(kind, &line)?,
        })))
    }

    fn facts(&mut self, kind: EventKind, line: &Line) -> Result<Facts, ParseError> {
        let flow = Flow {
            connection_ns: line.connection_ns,
            idle_ns: line.idle_ns,
            peer_silent_ns: line.peer_silent_ns,
            send_idle_ns: line.send_idle_ns,
            bytes_sent: line.bytes_sent,
            bytes_received: line.bytes_received,
        };
        let state = word_or(line.state.as_deref(), TcpState::Unknown);
        Ok(match kind {
            EventKind::TimeWait | EventKind::TimeWaitOverflow => Facts::TimeWait(TimeWait {
                state,
                from: word_or(line.from.as_deref(), TcpState::Unknown),
                flow,
                inferred: line.inferred,
            }),
            EventKind::Reset => Facts::Reset(Reset {
                direction: word::<ResetDirection>("direction", line.direction.as_deref())?,
                reason: word_or(line.reason.as_deref(), ResetReason::Other)
                    .unwrap_or(ResetReason::Other),
                kernel_reason: line
                    .kernel_reason
                    .as_deref()
                    .map(|reason| self.kernel_reason(reason)),
                state,
                flow,
                after_close_ns: line.after_close_ns,
            }),
            EventKind::Abort => Facts::Abort(Abort {
                reason: word_or(line.reason.as_deref(), AbortReason::Other)
                    .unwrap_or(AbortReason::Other),
                state,
                flow,
            }),
            EventKind::PortAlloc => Facts::PortAlloc(PortAlloc {
                op: word::<PortOp>("op", line.op.as_deref())?,
                requested: line.requested,
                result: result(line.result.as_deref())?,
                latency_ns: line.latency_ns,
                exact: line.exact,
                refused_reuse: line.refused_reuse,
                socket_range: line.socket_range,
            }),
            EventKind::TimeWaitEnd => Facts::TimeWaitEnd(TimeWaitEnd {
                cause: word::<EndCause>("cause", line.cause.as_deref())?,
                age_ns: line.age_ns,
                promoted_ns: line.promoted_ns,
                by: self.process_or_null(line.by)?,
                inferred: line.inferred,
            }),
        })
    }

    fn process_or_null(&mut self, raw: Option<&RawValue>) -> Result<Option<Process>, ParseError> {
        let text = raw.map(RawValue::get).filter(|text| *text != "null");
        text.map(|text| self.process(text)).transpose()
    }

    pub(super) fn process(&mut self, text: &str) -> Result<Process, ParseError> {
        let process = self.looked_up(text)?;
        if self.latest.is_empty() {
            self.latest.resize_with(LATEST, || None);
        }
        self.latest[process.key.tgid as usize % LATEST] = Some(ProcessText {
            text: text.into(),
            process: process.clone(),
        });
        Ok(process)
    }

    fn looked_up(&mut self, text: &str) -> Result<Process, ParseError> {
        if let Some(known) = self.processes.get(text) {
            return Ok(known.clone());
        }
        let process: Process = serde_json::from_str(text)?;
        self.processes_text += text.len();
        if self.processes.len() >= CACHED || self.processes_text > CACHED_TEXT {
            self.processes.clear();
            self.processes_text = text.len();
        }
        self.processes.insert(text.into(), process.clone());
        Ok(process)
    }

    pub(super) fn kernel_reason(&mut self, reason: &str) -> KernelReason {
        if let Some(known) = self.reasons.get(reason) {
            return known.clone();
        }
        let reason = cut(reason);
        if self.reasons.len() >= CACHED {
            self.reasons.clear();
        }
        let new = KernelReason::new(reason);
        self.reasons.insert(reason.into(), new.clone());
        new
    }
}

fn is_other(event: &str) -> bool {
    EventKind::from_word(event).is_none() && event != "lost"
}

fn lost(line: &Line) -> Result<Lost, ParseError> {
    let probe = line.probe.as_deref().unwrap_or_default();
    Ok(Lost {
        ts: timestamp(line)?,
        mono_ns: line.mono_ns,
        event: Default::default(),
        probe: LostBy::from_word(probe).ok_or_else(|| field("probe", probe))?,
        count: line.count.unwrap_or(0),
    })
}

fn timestamp(line: &Line) -> Result<Timestamp, ParseError> {
    line.ts.parse().map_err(|_| field("ts", &line.ts))
}

fn address(name: &'static str, text: Option<&str>) -> Result<Option<SocketAddr>, ParseError> {
    text.map(|text| text.parse().map_err(|_| field(name, text)))
        .transpose()
}

fn result(text: Option<&str>) -> Result<PortResult, ParseError> {
    match text.unwrap_or_default() {
        "ok" => Ok(PortResult::Ok),
        name => Errno::from_name(name)
            .map(PortResult::Failed)
            .ok_or_else(|| field("result", name)),
    }
}

/// `None` for none; a word that is not known is `unknown`.
fn word_or<T: Word>(text: Option<&str>, unknown: T) -> Option<T> {
    text.map(|text| T::from_word(text).unwrap_or(unknown))
}

fn word<T: Word>(name: &'static str, text: Option<&str>) -> Result<T, ParseError> {
    let text = text.unwrap_or_default();
    T::from_word(text).ok_or_else(|| field(name, text))
}

fn field(field: &'static str, text: &str) -> ParseError {
    ParseError::Field {
        field,
        text: text.chars().take(64).collect(),
    }
}

/// The longest word of a kernel that is kept, bytes.
const REASON: usize = 256;

fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "parse_generated_tests.rs"]
mod generated_tests;
