//! The JSON Schema (2020-12) of every `--json` output, generated from the printed types.
//!
//! The schemas are closed: an unknown field is an error, and so is a missing one. Adding a field to the contract is
//! compatible nevertheless; a schema describes what its own version prints.

use clap::ValueEnum;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use twtrace_core::doctor::diagnosis::Diagnosis;
use twtrace_core::event::words::Word;
use twtrace_core::event::{Event, Lost, Timestamp, schema};
use twtrace_core::hooks::Choice;
use twtrace_core::model::difference::Difference;
use twtrace_core::model::report::Report;
use twtrace_wire::EventKind;

use crate::output::tiers::Document;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputKind {
    /// A line of `trace --json`.
    Event,
    /// The document of `report --json`.
    Report,
    /// The document of `doctor --json`.
    Doctor,
    /// The document of `probes --json`.
    Probes,
    /// The document of `report --diff OLD NEW --json`.
    Difference,
}

/// The schema of one output.
pub fn of(kind: OutputKind) -> Schema {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let mut schema = match kind {
        OutputKind::Event => event(&mut generator),
        OutputKind::Report => generator.into_root_schema_for::<Report>(),
        OutputKind::Doctor => generator.into_root_schema_for::<Diagnosis>(),
        OutputKind::Difference => generator.into_root_schema_for::<Difference>(),
        OutputKind::Probes => generator.into_root_schema_for::<Document<'static>>(),
    };
    RecursiveTransform(close).transform(&mut schema);
    schema
}

/// Forbids further fields in objects whose fields are known.
fn close(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// A line is one of these, according to its field `event`. If recordings of several hosts are read, each line begins
/// with its host.
fn event(generator: &mut SchemaGenerator) -> Schema {
    let common = Event::json_schema(generator);
    let mut lines: Vec<Schema> = EventKind::MEMBERS
        .iter()
        .map(|kind| {
            line(
                common.clone(),
                schema::of_kind(*kind, generator),
                kind.word(),
            )
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
            .or_insert_with(|| json!({ "type": "string", "description": "Host, if recordings of several are read." }));
    }
    line
}

/// Combines the fields that all events have with those of one kind.
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
        let kind = json!({ "const": word, "description": "The kind of event." });
        fields.insert("event".to_owned(), kind);
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
        "format": { "const": twtrace_core::event::json::FORMAT },
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

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
