//! The line of an event: the fields that all kinds have, then those of its kind.

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::event_json::{EventJson, JsonLine};
use super::fields::fields;
use super::parse::{AnyLine, ParseError, Parser};
use super::rest::Rest;
use super::value::Value;
use super::{Event, EventFacts};

/// Names the fields that all kinds have, in the order of the line. One of them is the kind, which says what fields follow. One
/// with a usual value is left out where it has that.
macro_rules! common_fields {
    (facts by $kind:ident: $first:ident, $($field:ident $(unless $usual:literal)?),+) => {
        impl Event {
            /// Appends its line.
            pub(super) fn write(&self, line: &mut JsonLine<'_>) {
                line.raw(fields!(in_line "{" $first));
                self.$first.write(line);
                $(
                    $(if self.$field != $usual)? {
                        line.raw(fields!(in_line "," $field));
                        self.$field.write(line);
                    }
                )+
                self.facts.write(line);
                line.raw(b"}\n");
            }

            /// Reads what [`Self::write`] appends, without the end of the line; `None` for any other text.
            pub(super) fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self> {
                rest.expect(fields!(in_line "{" $first))?;
                let $first = Value::read_written(rest, parser)?;
                $(
                    let $field = if rest.is_next(fields!(in_line "," $field)) {
                        Value::read_written(rest, parser)?
                    } else {
                        common_fields!(absent $($usual)?)
                    };
                )+
                let facts = EventFacts::read_written($kind, rest, parser)?;
                (rest.0 == b"}").then_some(Self { $first, $($field,)+ facts })
            }

            /// Reads any line of the contract that is an event.
            pub(super) fn read(line: &AnyLine<'_>, parser: &mut Parser) -> Result<Self, ParseError> {
                let $first = line.of(stringify!($first), parser)?;
                $(let $field = common_fields!(of line, parser, $field $($usual)?);)+
                let facts = EventFacts::read($kind, line, parser)?;
                Ok(Self { $first, $($field,)+ facts })
            }
        }
    };
    (absent) => { return None };
    (absent $usual:literal) => { $usual };
    (of $line:ident, $parser:ident, $field:ident) => {
        $line.of(stringify!($field), $parser)?
    };
    (of $line:ident, $parser:ident, $field:ident $usual:literal) => {
        $line.of::<Option<_>>(stringify!($field), $parser)?.unwrap_or($usual)
    };
}

common_fields! {
    facts by event:
    ts, mono_ns, event, netns, netns_nth unless 0, local, remote, mapped, side, process, unattributed, opener
}

/// Serialises its line. [`EventJson`] is faster for many events.
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
