//! Results of a storm, and how they are printed.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    plan::End,
    tracer::{ReportedProcess, TraceEvent},
};

/// Results of a round, or of all rounds.
#[derive(Clone, Debug, Default)]
pub struct StormVerdict {
    /// Connections that connect() opened.
    pub connections: u64,
    /// Events that were compared.
    pub events: u64,
    /// Events by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Events that should name a process, and did or did not.
    pub attributable: u64,
    /// Events without a process although one was responsible, by kind.
    pub unknown: BTreeMap<String, u64>,
    /// Resets with the reason `other`, by kind.
    pub other_reason: BTreeMap<String, u64>,
    /// RSTs that namespaces sent, by the kernel's count.
    pub resets_sent: u64,
    /// TIME_WAITs that were created, by the kernel's count.
    pub births: u64,
    /// Events for which the kernel ran no program, by its own count: it runs none in the context of process 1, or a
    /// program was already running on that CPU.
    pub hidden: u64,
    /// Missing events, within that number.
    pub missing: u64,
    /// Lives with events that were not reported.
    pub incomplete: Vec<String>,
    /// One example for each kind of the two maps above.
    pub examples: BTreeMap<String, String>,
    /// Errors.
    pub wrong: Vec<String>,
    /// Totals that differ, and by how much: what the kernel hid explains some.
    pub differences: Vec<(String, u64)>,
}

impl StormVerdict {
    /// Adds the results of another round.
    pub fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.events += other.events;
        self.attributable += other.attributable;
        self.resets_sent += other.resets_sent;
        self.births += other.births;
        self.hidden += other.hidden;
        self.missing += other.missing;
        for (sum, of) in [
            (&mut self.kinds, other.kinds),
            (&mut self.unknown, other.unknown),
            (&mut self.other_reason, other.other_reason),
        ] {
            for (what, count) in of {
                *sum.entry(what).or_insert(0) += count;
            }
        }
        for (what, example) in other.examples {
            self.examples.entry(what).or_insert(example);
        }
        self.wrong.extend(other.wrong);
        self.differences.extend(other.differences);
    }

    /// Number of events that did not name the process they should.
    pub fn unknown(&self) -> u64 {
        self.unknown.values().sum()
    }
}

/// An event in one line.
pub fn summary(event: &TraceEvent, end: End) -> String {
    let line: serde_json::Value = serde_json::from_str(&event.line).unwrap_or_default();
    let who = |process: &Option<ReportedProcess>| {
        process.as_ref().map_or("nobody".to_owned(), |process| {
            format!("{} {}", process.pid, process.comm)
        })
    };
    let mut text = format!(
        "TOLD {end:?} {} by {} opened by {}",
        event.kind(),
        who(&event.process),
        who(&event.opener)
    );
    for field in [
        "unattributed",
        "side",
        "reason",
        "kernel_reason",
        "cause",
        "from",
        "state",
        "inferred",
        "result",
        "connection_ns",
    ] {
        match &line[field] {
            serde_json::Value::Null => {}
            value => {
                let _ = write!(text, ", {field} {value}");
            }
        }
    }
    text
}
