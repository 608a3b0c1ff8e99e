//! The output of `--json` matches `twtrace schema`, also with real traffic.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::{
    Usage,
    command::in_netns,
    recordings::{printed_by, start, traffic, with_files},
};
use crate::{runner::Context, sys::process};

pub const USAGES: &[Usage] = &[Usage {
    name: "schema/outputs",
    run: outputs,
}];

/// Kinds of lines that the traffic causes on every tier.
const KINDS: [&str; 4] = ["start", "time_wait", "reset", "port_alloc"];

/// A schema printed by `twtrace schema`.
struct Schema {
    kind: &'static str,
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

/// Exists only if the network namespace's number belonged to another one before.
const OPTIONAL: &str = "netns_nth";

impl Schema {
    fn print(context: &Context, kind: &'static str) -> Result<Self> {
        let text = printed_by(context, &["schema", kind])?;
        let broken = |error| anyhow!("the schema {kind}: {error}");
        let mut compiler = boon::Compiler::new();
        compiler
            .add_resource("schema.json", serde_json::from_str(&text)?)
            .map_err(broken)?;
        let mut schemas = boon::Schemas::new();
        let index = compiler
            .compile("schema.json", &mut schemas)
            .map_err(broken)?;
        Ok(Self {
            kind,
            schemas,
            index,
        })
    }

    fn allows(&self, value: &Value) -> bool {
        self.schemas.validate(value, self.index).is_ok()
    }

    /// The value matches, and would not with one field less (except [`OPTIONAL`]), one more, or one of another type.
    fn describes(&self, value: &Value) -> Result<()> {
        let kind = self.kind;
        if let Err(error) = self.schemas.validate(value, self.index) {
            return Err(anyhow!("not a {kind}: {error:#}\n{value}"));
        }
        let fields = value.as_object().context("not an object")?;
        for name in fields.keys() {
            let mut less = fields.clone();
            less.remove(name);
            let is_optional = self.allows(&less.into());
            ensure!(
                is_optional == (name == OPTIONAL),
                "a {kind} without {name} passes: {value}"
            );
            let mut other = fields.clone();
            other.insert(name.clone(), json!([[false]]));
            let is_anything = self.allows(&other.into());
            ensure!(!is_anything, "a {kind} with any {name} passes: {value}");
        }
        let mut more = fields.clone();
        more.insert("surplus".to_owned(), json!(1));
        let is_open = self.allows(&more.into());
        ensure!(!is_open, "a {kind} with a field more passes: {value}");
        Ok(())
    }

    fn describes_text(&self, text: &str) -> Result<Value> {
        let kind = self.kind;
        let value =
            serde_json::from_str(text).with_context(|| format!("no {kind}: {text:.300}"))?;
        self.describes(&value)?;
        Ok(value)
    }
}

/// The recording of one live view is the input of the others: attaching takes long in an emulated machine. Elsewhere
/// doctor is live as well.
fn outputs(context: &Context) -> Result<()> {
    let report = Schema::print(context, "report")?;
    let doctor = Schema::print(context, "doctor")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("recording.twt");
    let stacks = ["report", "--json", "--stacks"];
    let reporting = start(context, &with_files(&stacks, "--record", &[&path]))?;
    let diagnosing = if process::emulated() {
        None
    } else {
        Some(start(context, &["doctor", "--json"])?)
    };
    let traffic = in_netns(traffic::play)?;
    if let Some(diagnosing) = diagnosing {
        let (_, text) = diagnosing.end_with(&[0])?;
        doctor.describes_text(&text).context("live")?;
    }
    let (_, text) = reporting.end_with(&[0])?;
    drop(traffic);
    let with_stacks = report.describes_text(&text).context("live")?;
    let is_named = |value: &Value| {
        value["processes"]
            .as_array()
            .is_some_and(|rows| !rows.is_empty())
    };
    ensure!(is_named(&with_stacks), "it counts nothing: {with_stacks}");

    let replayed = |verb: &[&str]| printed_by(context, &with_files(verb, "--from", &[&path]));
    report.describes_text(&replayed(&stacks)?)?;
    let plain = report.describes_text(&replayed(&stacks[..2])?)?;
    ensure!(is_named(&plain), "it counts nothing: {plain}");
    doctor.describes_text(&replayed(&["doctor", "--json"])?)?;
    lines(context, &path)?;

    let probes = ["probes", "--json"].map(str::to_owned);
    let probes = [&probes[..], &context.tier.options()].concat();
    Schema::print(context, "probes")?.describes_text(&printed_by(context, &probes)?)?;
    Ok(())
}

/// Every line of `trace --json`.
fn lines(context: &Context, path: &Path) -> Result<()> {
    let schema = Schema::print(context, "event")?;
    let text = printed_by(
        context,
        &with_files(&["trace", "--json"], "--from", &[path]),
    )?;
    let mut kinds = BTreeSet::new();
    for line in text.lines() {
        let value = schema.describes_text(line)?;
        kinds.extend(value["event"].as_str().map(str::to_owned));
    }
    for kind in KINDS {
        ensure!(kinds.contains(kind), "no line is a {kind}: {kinds:?}");
    }
    Ok(())
}
