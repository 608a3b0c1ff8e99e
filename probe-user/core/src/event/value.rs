//! What a field of a line can hold: how it is written, read back, and described.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::borrowed::Text;
use super::counts_by::CountsBy;
use super::errno::Errno;
use super::event_json::JsonLine;
use super::event_table::{PortResult, SocketRange};
use super::kernel_reason::KernelReason;
use super::parse::{ParseError, Parser, field};
use super::rest::Rest;
use super::schema::WordOf;
use super::words::Word;
use super::{Process, Timestamp};

/// Type of a field.
pub trait Value: Sized {
    /// The type with its JSON Schema.
    type Schema: JsonSchema;

    /// Appends the value.
    fn write(&self, line: &mut JsonLine<'_>);

    /// The value of a field that is missing because an earlier version wrote the line; `None` if the field is required.
    fn absent() -> Option<Self> {
        None
    }

    /// Reads what [`Self::write`] appends. `None` for any other text, which is left to [`Self::read`].
    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self>;

    /// Reads any JSON of the contract; `None` if the line has no such field.
    ///
    /// # Errors
    /// If it violates the contract.
    fn read(
        name: &'static str,
        json: Option<&str>,
        parser: &mut Parser,
    ) -> Result<Self, ParseError>;
}

/// `null` for `None`.
impl<T: Value> Value for Option<T> {
    type Schema = Option<T::Schema>;

    fn absent() -> Option<Self> {
        Some(None)
    }

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        match self {
            Some(value) => value.write(line),
            None => line.raw(b"null"),
        }
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self> {
        if rest.is_next(b"null") {
            return Some(None);
        }
        T::read_written(rest, parser).map(Some)
    }

    fn read(
        name: &'static str,
        json: Option<&str>,
        parser: &mut Parser,
    ) -> Result<Self, ParseError> {
        let json = json.filter(|json| *json != "null");
        json.map(|json| T::read(name, Some(json), parser))
            .transpose()
    }
}

/// An unknown or missing word becomes the set's unknown member, if there is one.
impl<T: Word> Value for T {
    type Schema = WordOf<T>;

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        line.word(*self);
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, _: &mut Parser) -> Option<Self> {
        rest.word()
    }

    fn read(name: &'static str, json: Option<&str>, _: &mut Parser) -> Result<Self, ParseError> {
        let text = text(json)?;
        let text = text.as_deref().unwrap_or_default();
        let known = T::from_word(text).or(T::UNKNOWN);
        known.ok_or_else(|| field(name, text))
    }
}

/// Whole numbers, and what stands for one that the line does not have.
macro_rules! whole_numbers {
    ($($type:ty: $absent:expr;)+) => {$(
        impl Value for $type {
            type Schema = Self;

            #[inline]
            fn write(&self, line: &mut JsonLine<'_>) {
                line.number((*self).into());
            }

            #[inline]
            fn read_written(rest: &mut Rest<'_>, _: &mut Parser) -> Option<Self> {
                rest.number()?.try_into().ok()
            }

            fn read(
                name: &'static str,
                json: Option<&str>,
                _: &mut Parser,
            ) -> Result<Self, ParseError> {
                json.map_or_else(|| $absent(name), parsed)
            }
        }
    )+};
}

whole_numbers! {
    u64: missing;
    u32: missing;
    // A port: 0 is none.
    u16: |_| Ok(0);
}

impl Value for bool {
    type Schema = Self;

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        line.raw(if *self { b"true" } else { b"false" });
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, _: &mut Parser) -> Option<Self> {
        rest.truth()
    }

    fn read(_: &'static str, json: Option<&str>, _: &mut Parser) -> Result<Self, ParseError> {
        json.map_or(Ok(false), parsed)
    }
}

impl Value for SocketAddr {
    type Schema = Self;

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        line.address(*self);
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, _: &mut Parser) -> Option<Self> {
        rest.address()
    }

    fn read(name: &'static str, json: Option<&str>, _: &mut Parser) -> Result<Self, ParseError> {
        let text: Text = parsed(required(name, json)?)?;
        text.parse().map_err(|_| field(name, &text))
    }
}

impl Value for Timestamp {
    type Schema = Self;

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        line.raw(b"\"");
        line.timestamp(*self);
        line.raw(b"\"");
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self> {
        rest.expect(b"\"")?;
        let (text, after) = rest.0.split_first_chunk()?;
        let at = parser.day.timestamp(text)?;
        rest.0 = after;
        rest.expect(b"\"")?;
        Some(at)
    }

    fn read(name: &'static str, json: Option<&str>, _: &mut Parser) -> Result<Self, ParseError> {
        let text: Text = parsed(required(name, json)?)?;
        text.parse().map_err(|_| field(name, &text))
    }
}

/// Many events have the same process.
impl Value for Process {
    type Schema = Self;

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        line.process(self);
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self> {
        parser.process_as_written(rest)
    }

    fn read(
        name: &'static str,
        json: Option<&str>,
        parser: &mut Parser,
    ) -> Result<Self, ParseError> {
        parser.process(required(name, json)?)
    }
}

impl Value for KernelReason {
    type Schema = Self;

    fn write(&self, line: &mut JsonLine<'_>) {
        line.json(self);
    }

    fn read_written(rest: &mut Rest<'_>, parser: &mut Parser) -> Option<Self> {
        rest.text().map(|reason| parser.kernel_reason(reason))
    }

    fn read(
        name: &'static str,
        json: Option<&str>,
        parser: &mut Parser,
    ) -> Result<Self, ParseError> {
        let text: Text = parsed(required(name, json)?)?;
        Ok(parser.kernel_reason(&text))
    }
}

impl Value for PortResult {
    type Schema = Self;

    #[inline]
    fn write(&self, line: &mut JsonLine<'_>) {
        match self {
            Self::Ok => line.raw(b"\"ok\""),
            Self::Failed(_) => line.json(self),
        }
    }

    #[inline]
    fn read_written(rest: &mut Rest<'_>, _: &mut Parser) -> Option<Self> {
        if rest.is_next(b"\"ok\"") {
            return Some(Self::Ok);
        }
        Errno::from_name(rest.text()?).map(Self::Failed)
    }

    fn read(name: &'static str, json: Option<&str>, _: &mut Parser) -> Result<Self, ParseError> {
        let text = text(json)?;
        match text.as_deref().unwrap_or_default() {
            "ok" => Ok(Self::Ok),
            errno => Errno::from_name(errno)
                .map(Self::Failed)
                .ok_or_else(|| field(name, errno)),
        }
    }
}

/// In most cases nothing is counted.
impl<T: Word + PartialEq, const N: usize> Value for CountsBy<T, N> {
    type Schema = Self;

    fn write(&self, line: &mut JsonLine<'_>) {
        if self.numbers() == [0; N] {
            line.raw(b"{}")
        } else {
            line.json(self)
        }
    }

    fn read_written(rest: &mut Rest<'_>, _: &mut Parser) -> Option<Self> {
        if rest.is_next(b"{}") {
            return Some(Self::default());
        }
        serde_json::from_str(rest.object()?).ok()
    }

    fn read(name: &'static str, json: Option<&str>, _: &mut Parser) -> Result<Self, ParseError> {
        parsed(required(name, json)?)
    }
}

impl Value for SocketRange {
    type Schema = Self;

    fn write(&self, line: &mut JsonLine<'_>) {
        line.json(self);
    }

    fn read_written(rest: &mut Rest<'_>, _: &mut Parser) -> Option<Self> {
        serde_json::from_str(rest.object()?).ok()
    }

    fn read(name: &'static str, json: Option<&str>, _: &mut Parser) -> Result<Self, ParseError> {
        parsed(required(name, json)?)
    }
}

fn required<'a>(name: &'static str, json: Option<&'a str>) -> Result<&'a str, ParseError> {
    json.map_or_else(|| missing(name), Ok)
}

fn missing<T>(name: &'static str) -> Result<T, ParseError> {
    Err(ParseError::Json(format!("missing field `{name}`")))
}

fn parsed<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, ParseError> {
    Ok(serde_json::from_str(json)?)
}

/// `None` for a missing field, and for null.
fn text(json: Option<&str>) -> Result<Option<Text<'_>>, ParseError> {
    json.map_or(Ok(None), parsed)
}
