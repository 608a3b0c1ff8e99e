//! The JSON Schema (2020-12) of every `--json` output, made from the types that are printed.
//!
//! The schemas are closed: a field that is not in them is an error, and so is one that is missing. Adding a field
//! to the contract is compatible all the same; a schema tells what its own version prints.

use std::borrow::Cow;
use std::marker::PhantomData;

use clap::ValueEnum;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use twtrace_wire::{EventKind, Probe, Side};

use crate::command::probes::Document;
use crate::doctor::diagnosis::Diagnosis;
use crate::event::by::By;
use crate::event::comm::Comm;
use crate::event::kernel_reason::KernelReason;
use crate::event::words::Word;
use crate::event::{
    Abort, Event, Lost, LostBy, PortAlloc, PortResult, Reset, TimeWait, TimeWaitEnd, Timestamp,
};
use crate::model::report::Report;
use crate::probe::Choice;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A line of `trace --json`.
    Event,
    /// The document of `report --json`.
    Report,
    /// The document of `doctor --json`.
    Doctor,
    /// The document of `probes --json`.
    Probes,
}

/// The schema of one output.
pub fn of(kind: Kind) -> Schema {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let mut schema = match kind {
        Kind::Event => event(&mut generator),
        Kind::Report => generator.into_root_schema_for::<Report>(),
        Kind::Doctor => generator.into_root_schema_for::<Diagnosis>(),
        Kind::Probes => generator.into_root_schema_for::<Document<'static>>(),
    };
    RecursiveTransform(close).transform(&mut schema);
    schema
}

/// Objects whose fields are known have no others.
fn close(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// A line is one of these, by its field `event`. Where recordings of several hosts are read, each line has its
/// host in front.
fn event(generator: &mut SchemaGenerator) -> Schema {
    let common = Event::json_schema(generator);
    let mut lines: Vec<Schema> = EventKind::MEMBERS
        .iter()
        .map(|kind| {
            let own = match kind {
                EventKind::TimeWait | EventKind::TimeWaitOverflow => {
                    TimeWait::json_schema(generator)
                }
                EventKind::Reset => Reset::json_schema(generator),
                EventKind::Abort => Abort::json_schema(generator),
                EventKind::PortAlloc => PortAlloc::json_schema(generator),
                EventKind::TimeWaitEnd => TimeWaitEnd::json_schema(generator),
            };
            line(common.clone(), own, kind.word())
        })
        .collect();
    lines.extend([Lost::json_schema(generator), start(generator)]);
    json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Event",
        "oneOf": lines.into_iter().map(with_host).collect::<Vec<_>>(),
        "$defs": generator.take_definitions(true),
    })
}

fn with_host(mut line: Schema) -> Schema {
    if let Some(Value::Object(fields)) = line.get_mut("properties") {
        fields
            .entry("host")
            .or_insert_with(|| json!({ "type": "string" }));
    }
    line
}

/// Fields that all events have, and those of one kind.
fn line(mut common: Schema, own: Schema, word: &str) -> Schema {
    for name in ["properties", "required"] {
        match (common.get_mut(name), own.get(name)) {
            (Some(Value::Object(fields)), Some(Value::Object(more))) => {
                fields.extend(more.clone());
            }
            (Some(Value::Array(names)), Some(Value::Array(more))) => {
                names.extend(more.iter().cloned());
            }
            _ => {}
        }
    }
    if let Some(Value::Object(fields)) = common.get_mut("properties") {
        fields.insert("event".to_owned(), json!({ "const": word }));
    }
    if let Some(description) = own.get("description") {
        common.insert("description".to_owned(), description.clone());
    }
    common
}

/// The first line.
fn start(generator: &mut SchemaGenerator) -> Schema {
    let fields = json!({
        "ts": generator.subschema_for::<Timestamp>(),
        "mono_ns": generator.subschema_for::<u64>(),
        "event": { "const": "start" },
        "format": { "const": crate::output::json::FORMAT },
        "part": generator.subschema_for::<u32>(),
        "kernel": { "type": "string" },
        "host": { "type": "string" },
        "options": { "type": "object" },
        "tiers": generator.subschema_for::<Vec<Choice>>(),
    });
    let names: Vec<&String> = fields.as_object().into_iter().flat_map(Map::keys).collect();
    json_schema!({
        "type": "object",
        "description": "The first line.",
        "properties": fields,
        "required": names,
    })
}

/// Stands for a set whose members are written as words.
pub struct WordOf<T>(PhantomData<T>);

fn words<T: Word>() -> Vec<&'static str> {
    T::MEMBERS.iter().map(|member| member.word()).collect()
}

fn lost_by() -> Vec<&'static str> {
    [words::<Probe>(), vec![LostBy::Decode.word()]].concat()
}

/// Schemas that are written where they are used: they have no name of their own.
macro_rules! inline {
    ($([$($generic:tt)*] $type:ty = $schema:expr;)+) => {$(
        impl<$($generic)*> JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )+};
}

inline! {
    [T: Word] WordOf<T> = json_schema!({ "enum": words::<T>() });
    [T: Word, const N: usize] By<T, N> = numbers(&words::<T>(), false);
    [] EachSide = numbers(&words::<Side>(), true);
    [] Comm = json_schema!({ "type": "string" });
    [] KernelReason = json_schema!({ "type": "string" });
    [] PortResult = json_schema!({ "type": "string", "pattern": "^(ok|E[A-Z0-9]+)$" });
    [] LostBy = json_schema!({ "enum": lost_by() });
    [] Timestamp = json_schema!({
        "type": "string",
        "format": "date-time",
        "pattern": "^\\d{4,}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}Z$",
    });
}

/// Stands for numbers of all sides, also those with nothing.
pub struct EachSide;

/// One number a word.
fn numbers(words: &[&str], is_always: bool) -> Schema {
    let number = json!({ "type": "integer", "minimum": 0 });
    let fields: Map<String, Value> = words
        .iter()
        .map(|word| ((*word).to_owned(), number.clone()))
        .collect();
    json_schema!({
        "type": "object",
        "properties": fields,
        "required": if is_always { words } else { &[] },
    })
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
