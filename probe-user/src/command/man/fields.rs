//! The section FIELDS of a manual page: the fields of `--json`, from the schema.

use std::collections::{BTreeMap, BTreeSet};

use clap_mangen::roff::{Roff, bold, roman};
use serde_json::{Map, Value};

use crate::schema::{self, OutputKind};

type Object = Map<String, Value>;

/// Sets of more words are not listed: states of a socket.
const FEW_WORDS: usize = 10;

/// The section.
pub fn render(kind: OutputKind, roff: &mut Roff) {
    let schema = schema::of(kind);
    roff.control("SH", ["FIELDS"]);
    match schema.get("oneOf").and_then(Value::as_array) {
        Some(lines) => {
            roff.text([roman(
                "--json prints one object a line. Its field event says which fields follow.",
            )]);
            render_lines(lines, roff);
        }
        None => {
            roff.text([roman("--json prints one document with these fields.")]);
            if let Some(document) = schema.as_object() {
                fields(document, &BTreeSet::new(), roff);
            }
        }
    }
    let definitions = schema.get("$defs").and_then(Value::as_object);
    for (name, definition) in definitions.into_iter().flatten() {
        let Some(definition) = definition.as_object() else {
            continue;
        };
        if definition.contains_key("properties") {
            heading(name, definition, roff);
            fields(definition, &BTreeSet::new(), roff);
        }
    }
}

/// Fields that all kinds of events have, then those of each kind.
fn render_lines(lines: &[Value], roff: &mut Roff) {
    let objects: Vec<&Object> = lines.iter().filter_map(Value::as_object).collect();
    let names = |line: &Object| -> BTreeSet<String> {
        let properties = line.get("properties").and_then(Value::as_object);
        properties
            .into_iter()
            .flatten()
            .map(|it| it.0.clone())
            .collect()
    };
    let is_event = |line: &&&Object| names(line).contains("process");
    let events: Vec<&Object> = objects.iter().filter(is_event).copied().collect();
    let common = events.iter().map(|line| names(line)).reduce(|a, b| &a & &b);
    let common = common.unwrap_or_default();
    if let Some(first) = events.first() {
        roff.control("SS", ["All events"]);
        let own = &names(first) - &common;
        fields(first, &own, roff);
    }
    let mut described: BTreeMap<String, Value> = BTreeMap::new();
    for line in objects {
        let Some(properties) = line.get("properties").and_then(Value::as_object) else {
            continue;
        };
        let word = properties.get("event").and_then(|it| it.get("const"));
        heading(word.and_then(Value::as_str).unwrap_or("other"), line, roff);
        let is_known = |it: &(&String, &Value)| described.get(it.0) == Some(it.1);
        let known: BTreeSet<String> = properties
            .iter()
            .filter(is_known)
            .map(|it| it.0.clone())
            .collect();
        fields(line, &(&common | &known), roff);
        let known: Vec<String> = known.difference(&common).cloned().collect();
        if !known.is_empty() {
            roff.control("PP", []);
            roff.text([roman(format!("Also, as above: {}.", known.join(", ")))]);
        }
        for (name, field) in properties {
            described.entry(name.clone()).or_insert(field.clone());
        }
    }
}

fn heading(name: &str, of: &Object, roff: &mut Roff) {
    roff.control("SS", [name]);
    let about = documentation(of);
    if !about.is_empty() {
        roff.text([roman(about)]);
    }
}

/// One paragraph per field, in the order of the output.
fn fields(of: &Object, left_out: &BTreeSet<String>, roff: &mut Roff) {
    let Some(properties) = of.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required = of.get("required").and_then(Value::as_array);
    let required: Vec<&str> = required
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let optional = properties.keys().map(String::as_str);
    let optional = optional.filter(|name| !required.contains(name));
    for name in required.iter().copied().chain(optional) {
        let Some(field) = properties.get(name).filter(|_| !left_out.contains(name)) else {
            continue;
        };
        roff.control("TP", []);
        roff.text([bold(name), roman(format!(" ({})", kind(field)))]);
        let about = field.as_object().map(documentation).unwrap_or_default();
        if !about.is_empty() {
            roff.text([roman(about)]);
        }
    }
}

/// What a field contains, in a few words: `integer or null`, `array of BudgetRow`.
fn kind(field: &Value) -> String {
    if let Some(reference) = field.get("$ref").and_then(Value::as_str) {
        return reference.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(word) = field.get("const") {
        return word.to_string();
    }
    if let Some(words) = field.get("enum").and_then(Value::as_array) {
        if words.len() > FEW_WORDS {
            let or_null = if words.contains(&Value::Null) {
                " or null"
            } else {
                ""
            };
            return format!("word{or_null}");
        }
        let words: Vec<String> = words.iter().map(Value::to_string).collect();
        return words.join(", ").replace('"', "");
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(kinds) = field.get(choice).and_then(Value::as_array) {
            let kinds: Vec<String> = kinds.iter().map(kind).collect();
            return kinds.join(" or ");
        }
    }
    match field.get("type") {
        Some(Value::String(of)) if of == "array" => match field.get("items") {
            Some(items) => format!("array of {}", kind(items)),
            None => "array".to_owned(),
        },
        Some(Value::String(of)) => of.clone(),
        Some(Value::Array(kinds)) => {
            let items = || field.get("items").map(kind);
            let kinds = kinds.iter().filter_map(Value::as_str);
            let kinds: Vec<String> = kinds
                .map(|of| match (of, items()) {
                    ("array", Some(items)) => format!("array of {items}"),
                    _ => of.to_owned(),
                })
                .collect();
            kinds.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

/// A documentation comment as one line for readers of JSON: without the code's own names.
fn documentation(of: &Object) -> String {
    let text = of.get("description").and_then(Value::as_str);
    let words: Vec<&str> = text.unwrap_or_default().split_whitespace().collect();
    words
        .join(" ")
        .replace("`None`", "null")
        .replace(['[', ']', '`'], "")
}
