//! How an event stands in its line: the fields that all kinds have, then those of its own.

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use twtrace_wire::EventKind;

use super::event_json::{EventJson, JsonLine};
use super::parse::{AnyLine, ParseError, Parser};
use super::rest::Rest;
use super::value::Value;
use super::{Event, EventFacts, is_first};

impl Event {
    /// Appends its line.
    pub(super) fn write(&self, line: &mut JsonLine<'_>) {
        line.raw(b"{\"ts\":");
        self.ts.write(line);
        line.raw(b",\"mono_ns\":");
        self.mono_ns.write(line);
        line.raw(b",\"event\":");
        self.event.write(line);
        line.raw(b",\"netns\":");
        self.netns.write(line);
        if !is_first(&self.netns_nth) {
            line.raw(b",\"netns_nth\":");
            self.netns_nth.write(line);
        }
        line.raw(b",\"local\":");
        self.local.write(line);
        line.raw(b",\"remote\":");
        self.remote.write(line);
        line.raw(b",\"mapped\":");
        self.mapped.write(line);
        line.raw(b",\"side\":");
        self.side.write(line);
        line.raw(b",\"process\":");
        self.process.write(line);
        line.raw(b",\"unattributed\":");
        self.unattributed.write(line);
        line.raw(b",\"opener\":");
        self.opener.write(line);
        self.facts.write(line);
        line.raw(b"}\n");
    }

    /// Reads what [`Self::write`] appends, without the end of the line; `None` for any other text.
    pub(super) fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self> {
        rest.expect(b"{\"ts\":")?;
        let ts = Value::read_written(rest, parser)?;
        rest.expect(b",\"mono_ns\":")?;
        let mono_ns = Value::read_written(rest, parser)?;
        rest.expect(b",\"event\":")?;
        let event = Value::read_written(rest, parser)?;
        rest.expect(b",\"netns\":")?;
        let netns = Value::read_written(rest, parser)?;
        let netns_nth = if rest.is_next(b",\"netns_nth\":") {
            Value::read_written(rest, parser)?
        } else {
            0
        };
        rest.expect(b",\"local\":")?;
        let local = Value::read_written(rest, parser)?;
        rest.expect(b",\"remote\":")?;
        let remote = Value::read_written(rest, parser)?;
        rest.expect(b",\"mapped\":")?;
        let mapped = Value::read_written(rest, parser)?;
        rest.expect(b",\"side\":")?;
        let side = Value::read_written(rest, parser)?;
        rest.expect(b",\"process\":")?;
        let process = Value::read_written(rest, parser)?;
        rest.expect(b",\"unattributed\":")?;
        let unattributed = Value::read_written(rest, parser)?;
        rest.expect(b",\"opener\":")?;
        let opener = Value::read_written(rest, parser)?;
        let facts = EventFacts::read_written(event, rest, parser)?;
        (rest.0 == b"}").then_some(Self {
            ts,
            mono_ns,
            event,
            netns,
            netns_nth,
            local,
            remote,
            mapped,
            side,
            process,
            unattributed,
            opener,
            facts,
        })
    }

    /// Reads any line of the contract that is of this kind.
    pub(super) fn read(
        kind: EventKind,
        line: &AnyLine<'_>,
        parser: &mut Parser,
    ) -> Result<Self, ParseError> {
        Ok(Self {
            ts: line.of("ts", parser)?,
            mono_ns: line.of("mono_ns", parser)?,
            event: kind,
            netns: line.of("netns", parser)?,
            netns_nth: line.of::<Option<u32>>("netns_nth", parser)?.unwrap_or(0),
            local: line.of("local", parser)?,
            remote: line.of("remote", parser)?,
            mapped: line.of("mapped", parser)?,
            side: line.of("side", parser)?,
            process: line.of("process", parser)?,
            unattributed: line.of("unattributed", parser)?,
            opener: line.of("opener", parser)?,
            facts: EventFacts::read(kind, line, parser)?,
        })
    }
}

/// Its line. [`EventJson`] is quicker for many.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::new();
        let written = EventJson::default().append(&mut text, self);
        written.map_err(S::Error::custom)?;
        let text = String::from_utf8(text).map_err(S::Error::custom)?;
        let line = RawValue::from_string(text).map_err(S::Error::custom)?;
        line.serialize(serializer)
    }
}
