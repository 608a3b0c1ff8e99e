use serde::Serialize;
use twtrace_core::doctor::samples as facts;
use twtrace_core::event::{EventFacts, LostBy};
use twtrace_core::event::{lost::LostWord, samples};
use twtrace_core::filter::Filter;
use twtrace_core::hooks::{Question, Tier};
use twtrace_core::model::report::{LostRow, MissRow, PortRow, ProcessRow, UnscannedRow};
use twtrace_wire::ResetReason;

use twtrace_wire::{Probe, Side};

use super::*;

fn errors(kind: OutputKind, value: &Value) -> Vec<String> {
    let schema = serde_json::to_value(of(kind)).unwrap();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("schema.json", schema).unwrap();
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    let valid = schemas.validate(value, index);
    valid
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect()
}

/// The output is valid; without any one of its fields, or with an additional one, at any depth, it is not.
fn is_described(kind: OutputKind, output: &impl Serialize) {
    let value = serde_json::to_value(output).unwrap();
    let none: [String; 0] = [];
    assert_eq!(errors(kind, &value), none, "{value:#}");
    let mut more = value.clone();
    more["surplus"] = json!(1);
    assert!(!errors(kind, &more).is_empty());
    for name in value.as_object().unwrap().keys() {
        let mut less = value.clone();
        less.as_object_mut().unwrap().remove(name);
        assert!(!errors(kind, &less).is_empty(), "{name} may be missing");
        let mut other = value.clone();
        other[name] = json!([[false]]);
        assert!(!errors(kind, &other).is_empty(), "{name} may be anything");
    }
}

#[test]
fn every_event() {
    let mut unknown = samples::reset();
    (unknown.process, unknown.opener, unknown.netns) = (None, None, None);
    (unknown.local, unknown.remote) = (None, None);
    unknown.unattributed = Some(twtrace_wire::Unattributed::NoSocket);
    for event in samples::all().into_iter().chain([unknown]) {
        is_described(OutputKind::Event, &event);
    }
    is_described(
        OutputKind::Event,
        &Lost {
            ts: Timestamp(0),
            mono_ns: 5,
            event: LostWord::Lost,
            probe: LostBy::Decode,
            count: 3,
        },
    );
    is_described(
        OutputKind::Event,
        &twtrace_core::event::json::Start {
            ts: Timestamp(0),
            mono_ns: 5,
            event: twtrace_core::event::json::StartWord::Start,
            part: 1,
            format: twtrace_core::event::json::FORMAT,
            kernel: "6.18",
            host: "host",
            options: json!({ "without": [] }),
            tiers: &choices(),
        },
    );
}

#[test]
fn a_difference() {
    let difference = Difference::of(&facts::healthy().report, &report());
    assert!(!difference.rows.is_empty());
    is_described(OutputKind::Difference, &difference);
}

#[test]
fn an_event_of_another_kind_is_refused() {
    let mut value = serde_json::to_value(samples::reset()).unwrap();
    value["event"] = json!("time_wait");
    assert!(!errors(OutputKind::Event, &value).is_empty());
    let mut value = serde_json::to_value(samples::reset()).unwrap();
    value["reason"] = json!("no_such_reason");
    assert!(!errors(OutputKind::Event, &value).is_empty());
}

fn choices() -> Vec<Choice> {
    vec![Choice {
        question: Question::TimeWait,
        tier: Tier::Inferred,
        hooks: vec!["inet_twsk_alloc".into()],
        lost: Some("refusals".into()),
        refused: vec![(Tier::Fentry, "switched off".into())],
    }]
}

fn report() -> Report {
    let mut report = facts::healthy().report;
    report.tiers = choices();
    let mut row = facts::process("nginx");
    row.counts.add(&samples::time_wait());
    row.counts.reset_sent.add(ResetReason::LingerZero);
    row.ports.push(PortRow {
        op: twtrace_wire::PortOp::Connect,
        exact: false,
        count: 9,
        failures: 1,
        untimed: 0,
        p50_ns: Some(1_500),
        p99_ns: None,
        max_ns: Some(2_000),
    });
    report.processes.push(row);
    let mut nobody: ProcessRow = facts::process("");
    nobody.process = None;
    nobody.unattributed = Some(twtrace_wire::Unattributed::NoSocket);
    report.processes.push(nobody);
    report
        .destinations
        .push(facts::destination(Side::Client, 3));
    report
        .pairs
        .push(facts::pair(Side::Client, "10.0.0.2:80", 3, 1));
    report.unscanned.push(UnscannedRow {
        netns: 4,
        why: "no".into(),
    });
    report.lost.push(LostRow {
        probe: LostBy::Probe(Probe::TimeWait),
        count: 1,
    });
    report.recursion_misses = Some(vec![MissRow {
        program: "state".into(),
        count: 2,
    }]);
    report
}

#[test]
fn a_report() {
    is_described(OutputKind::Report, &report());
    let mut value = serde_json::to_value(report()).unwrap();
    value["processes"][0]["time_wait"]["sideways"] = json!(1);
    assert!(!errors(OutputKind::Report, &value).is_empty());
}

#[test]
fn a_diagnosis_with_findings() {
    let mut facts = facts::healthy();
    facts.report = report();
    facts.report.budgets = vec![facts::budget(0, 3)];
    let diagnosis = Diagnosis::new(&facts, &Filter::default());
    assert!(!diagnosis.findings.is_empty());
    is_described(OutputKind::Doctor, &diagnosis);
}

#[test]
fn probes() {
    is_described(
        OutputKind::Probes,
        &json!({ "host": "h", "kernel": "k", "tiers": choices() }),
    );
}

#[test]
fn every_kind_of_event_and_its_fields_are_documented() {
    let document = include_str!("../../docs/json.md");
    for kind in EventKind::MEMBERS {
        let row = format!("\n| `{}` |", kind.word());
        assert!(document.contains(&row), "{}", kind.word());
        for field in EventFacts::list(*kind) {
            let name = format!("`{}`", field.name);
            assert!(
                document.contains(&name),
                "{} of {}",
                field.name,
                kind.word()
            );
        }
        assert!((1..=twtrace_core::event::json::FORMAT).contains(&EventFacts::since(*kind)));
    }
}
