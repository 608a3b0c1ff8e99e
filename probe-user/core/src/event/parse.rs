//! Parses lines of the JSON contract.
//!
//! A line of a later version may have unknown fields and kinds of events: these are skipped. An unknown word becomes
//! its set's `unknown` or `other`, if there is one.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use twtrace_wire::EventKind;

use super::borrowed::Text;
use super::kernel_reason::KernelReason;
use super::lost::LostWord;
use super::rest::{Day, Rest};
use super::value::Value;
use super::words::Word;
use super::{Event, Lost, LostBy, Process};

/// Maximum number of cached processes and kernel reasons.
const CACHED: usize = 8_192;
/// Slots of the most recently read ones.
const LATEST: usize = 64;
/// Maximum bytes of their text: a line of untrusted input may be long.
const CACHED_TEXT: usize = 16 << 20;
/// Maximum characters of untrusted text in a message.
const QUOTED: usize = 160;

/// Content of a line.
#[derive(Debug)]
pub enum ParsedLine {
    /// An event.
    Event(Box<Event>),
    /// Events or data were lost.
    Lost(Lost),
    /// Another kind of line, by the word in its field `event`.
    Other(String),
}

/// Why a line can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not JSON, or a field is missing or of another type.
    #[error("{0}")]
    Json(String),
    /// The text of a field violates the contract.
    #[error("{field} is {text:?}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its text.
        text: String,
    },
}

impl From<serde_json::Error> for ParseError {
    /// Such an error quotes the unexpected text, however long that is: it is shortened.
    fn from(error: serde_json::Error) -> Self {
        let whole = error.to_string();
        Self::Json(match whole.char_indices().nth(QUOTED) {
            Some((end, _)) => format!("{}...", &whole[..end]),
            None => whole,
        })
    }
}

/// Parses lines. Caches processes, as they repeat.
#[derive(Debug, Default)]
pub struct Parser {
    processes: HashMap<Box<str>, Process>,
    /// Bytes of the keys of `processes`.
    processes_text: usize,
    /// The most recently read ones, each in a slot by its pid: the opener is mostly the process itself, and repeats.
    latest: Vec<Option<ProcessText>>,
    reasons: HashMap<Box<str>, KernelReason>,
    pub(super) day: Day,
}

/// A process, and its text.
#[derive(Debug)]
struct ProcessText {
    text: Box<str>,
    process: Process,
}

/// All fields of a line, as JSON.
pub struct AnyLine<'a> {
    fields: Vec<(Text<'a>, &'a RawValue)>,
    /// Index after the last requested field: fields are requested in their order.
    next: Cell<usize>,
}

impl<'a> AnyLine<'a> {
    /// A field's JSON, if the line has it.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let is_it = |(known, _): &(Text<'_>, _)| **known == *name;
        let next = self.next.get();
        let (before, after) = self.fields.split_at_checked(next)?;
        let found = match after.iter().position(is_it) {
            Some(place) => next + place,
            None => before.iter().position(is_it)?,
        };
        self.next.set(found + 1);
        self.fields.get(found).map(|(_, json)| json.get())
    }

    pub(super) fn of<T: Value>(
        &self,
        name: &'static str,
        parser: &mut Parser,
    ) -> Result<T, ParseError> {
        let json = self.get(name);
        if let Some(json) = json {
            let mut rest = Rest(json.as_bytes());
            if let Some(value) = T::read_written(&mut rest, parser)
                && rest.0.is_empty()
            {
                return Ok(value);
            }
        }
        T::read(name, json, parser)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for AnyLine<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = AnyLine<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyLine<'de>, A::Error> {
                let mut fields = Vec::with_capacity(32);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(AnyLine {
                    fields,
                    next: Cell::new(0),
                })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl Parser {
    /// Parses a line.
    ///
    /// # Errors
    /// If it violates the contract.
    pub fn parse(&mut self, line: &[u8]) -> Result<ParsedLine, ParseError> {
        if let Some(event) = self.as_written(line) {
            return Ok(ParsedLine::Event(Box::new(event)));
        }
        self.parse_any(line)
    }

    /// The event of a line that is exactly as this version writes it; `None` for any other.
    pub(super) fn as_written(&mut self, line: &[u8]) -> Option<Event> {
        Event::read_written(&mut Rest(line), self)
    }

    /// Parses any line, without the fast path.
    pub(super) fn parse_any(&mut self, line: &[u8]) -> Result<ParsedLine, ParseError> {
        // Once for the whole line, not for each text in it.
        let line = str::from_utf8(line).map_err(|error| ParseError::Json(error.to_string()))?;
        let line: AnyLine = serde_json::from_str(line)?;
        let word = line
            .get("event")
            .ok_or_else(|| ParseError::Json("missing field `event`".into()))?;
        let word: Text = serde_json::from_str(word)?;
        match EventKind::from_word(&word) {
            Some(_) => Event::read(&line, self).map(|event| ParsedLine::Event(Box::new(event))),
            None if &*word == "lost" => self.lost(&line).map(ParsedLine::Lost),
            None => Ok(ParsedLine::Other(word.to_owned())),
        }
    }

    fn lost(&mut self, line: &AnyLine) -> Result<Lost, ParseError> {
        let probe: Option<Text> = match line.get("probe") {
            Some(json) => serde_json::from_str(json)?,
            None => None,
        };
        let probe = probe.as_deref().unwrap_or_default();
        Ok(Lost {
            ts: line.of("ts", self)?,
            mono_ns: line.of("mono_ns", self)?,
            event: LostWord::Lost,
            probe: LostBy::from_word(probe).ok_or_else(|| field("probe", probe))?,
            count: line.of::<Option<u64>>("count", self)?.unwrap_or(0),
        })
    }

    /// The last process with that id is in most cases the one that repeats.
    pub(super) fn process_as_written(&mut self, rest: &mut Rest) -> Option<Process> {
        let mut pid = Rest(rest.0.strip_prefix(b"{\"pid\":")?);
        let place = pid.number()? as usize % LATEST;
        // No object is the prefix of another, so its end need not be searched.
        if let Some(Some(ProcessText { text, process })) = self.latest.get(place)
            && let Some(after) = rest.0.strip_prefix(text.as_bytes())
        {
            rest.0 = after;
            return Some(process.clone());
        }
        let text = rest.object()?;
        self.process(text).ok()
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

pub(super) fn field(field: &'static str, text: &str) -> ParseError {
    ParseError::Field {
        field,
        text: text.chars().take(64).collect(),
    }
}

/// Maximum length of a kernel term that is cached, bytes.
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
