//! What the lines of a recording contain.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twtrace_core::event::json;
use twtrace_core::event::parse::{ParseError, ParsedLine, Parser};
use twtrace_core::event::{Event, Lost, Moment, Timestamp};
use twtrace_core::filter::{Filter, recorded};
use twtrace_core::hooks::Choice;
use twtrace_core::model::host::Host;
use twtrace_core::model::observation::Observation;
use twtrace_core::model::tally::TracingStart;

use super::observation::Assembler;

/// The first line: how tracing began.
#[derive(Clone, Debug, Deserialize)]
pub struct Start {
    /// Wall-clock time when all probes were attached.
    pub ts: Timestamp,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// Version of the format.
    pub format: u32,
    /// Number of this part, from 1.
    #[serde(default = "first")]
    pub part: u32,
    /// Kernel release.
    pub kernel: String,
    pub host: String,
    /// Options in force, as written.
    pub options: Option<Box<RawValue>>,
    /// The tier chosen for each question.
    #[serde(default)]
    pub tiers: Vec<Choice>,
}

const fn first() -> u32 {
    1
}

impl Start {
    /// In the form that views take.
    pub fn tracing_start(&self) -> TracingStart {
        TracingStart {
            at: Moment {
                ts: self.ts,
                mono_ns: self.mono_ns,
            },
            host: Host {
                name: self.host.clone(),
                kernel: self.kernel.clone(),
            },
            tiers: self.tiers.clone(),
        }
    }

    /// The filter that was in force.
    ///
    /// # Errors
    /// What of it this version does not know.
    pub fn filter(&self) -> Result<Filter, String> {
        let written = self.options.as_deref().map(RawValue::get);
        written.map_or_else(|| Ok(Filter::default()), recorded::of_options)
    }

    /// The line, to be written again.
    pub fn line(&self) -> impl Serialize + '_ {
        json::Start {
            ts: self.ts,
            mono_ns: self.mono_ns,
            event: Default::default(),
            format: self.format,
            part: self.part,
            kernel: &self.kernel,
            host: &self.host,
            options: &self.options,
            tiers: &self.tiers,
        }
    }

    /// Whether both are parts of one recording.
    pub fn is_of(&self, other: &Self) -> bool {
        let identity = |start: &Self| (start.ts, start.mono_ns, start.host.clone());
        identity(self) == identity(other)
    }
}

/// The content of one or more lines.
#[derive(Debug)]
pub enum Entry {
    Start(Box<Start>),
    Event(Box<Event>),
    Lost(Lost),
    /// Data read from the kernel beside its events.
    Observation(Box<Observation>),
}

impl Entry {
    pub fn at(&self) -> Moment {
        let (ts, mono_ns) = match self {
            Self::Start(start) => (start.ts, start.mono_ns),
            Self::Event(event) => (event.ts, event.mono_ns),
            Self::Lost(lost) => (lost.ts, lost.mono_ns),
            Self::Observation(observation) => return observation.at,
        };
        Moment { ts, mono_ns }
    }
}

/// Turns lines into entries.
#[derive(Debug, Default)]
pub struct EntryParser {
    parser: Parser,
    assembler: Assembler,
}

impl EntryParser {
    /// Reads a line. `None` if this version does not know its kind, or if it is only a part of an observation.
    ///
    /// # Errors
    /// If the line does not match the format.
    pub fn read(&mut self, line: &[u8]) -> Result<Option<Entry>, ParseError> {
        Ok(match self.parser.parse(line)? {
            ParsedLine::Event(event) => Some(Entry::Event(event)),
            ParsedLine::Lost(lost) => Some(Entry::Lost(lost)),
            ParsedLine::Other(kind) => match kind.as_str() {
                "start" => Some(Entry::Start(serde_json::from_slice(line)?)),
                kind if Assembler::knows(kind) => self
                    .assembler
                    .take(line)?
                    .map(|observation| Entry::Observation(Box::new(observation))),
                _ => None,
            },
        })
    }
}
