//! JSON Schema of words, numbers by word, and texts of the contract.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use twtrace_wire::{EventKind, Probe, Side};

use super::comm::Comm;
use super::counts_by::CountsBy;
use super::kernel_reason::KernelReason;
use super::words::Word;
use super::{EventFacts, LostBy, PortResult, Timestamp};

/// Represents a set whose members are written as words.
pub struct WordOf<T>(PhantomData<T>);

fn words<T: Word>() -> Vec<&'static str> {
    T::MEMBERS.iter().map(|member| member.word()).collect()
}

fn lost_by() -> Vec<&'static str> {
    [words::<Probe>(), vec![LostBy::Decode.word()]].concat()
}

/// Schemas that are inlined: they have no name of their own.
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
    [T: Word, const N: usize] CountsBy<T, N> = numbers(&words::<T>(), false);
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

/// The fields of a kind of event.
pub fn of_kind(kind: EventKind, generator: &mut SchemaGenerator) -> Schema {
    let mut fields = Map::new();
    let mut names = Vec::new();
    for field in EventFacts::list(kind) {
        let mut values = (field.values)(generator);
        values.insert("description".to_owned(), documentation(field.about));
        fields.insert(field.name.to_owned(), values.into());
        names.push(field.name);
    }
    json_schema!({
        "description": documentation(EventFacts::about(kind)),
        "type": "object",
        "properties": fields,
        "required": names,
    })
}

/// The text of a documentation comment, from its lines.
fn documentation(lines: &[&str]) -> Value {
    let lines = lines
        .iter()
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n").into()
}

/// Represents numbers of all sides, including those that are 0.
pub struct EachSide;

/// One number per word.
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
