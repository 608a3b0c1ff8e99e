//! What came of a storm, and how it is told.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    plan::End,
    tracer::{ReportedProcess, TraceEvent},
};

/// What came of a round, or of all of them.
#[derive(Clone, Debug, Default)]
pub struct StormVerdict {
    /// Connections that were made, by connect().
    pub connections: u64,
    /// Events that were judged.
    pub events: u64,
    /// ... by what they are.
    pub kinds: BTreeMap<String, u64>,
    /// Those that ought to name a process, and did or did not.
    pub attributable: u64,
    /// Those that did not though somebody was answerable, by what they are.
    pub unknown: BTreeMap<String, u64>,
    /// Resets whose reason is `other`, by what they are.
    pub other_reason: BTreeMap<String, u64>,
    /// RSTs that namespaces sent, by the kernel's count.
    pub resets_sent: u64,
    /// TIME_WAITs that were made, likewise.
    pub births: u64,
    /// What the kernel ran no program for, by its own count: it hides it from its processes' first one, or a program was
    /// running there already.
    pub hidden: u64,
    /// What was missing, and no more than that.
    pub missing: u64,
    /// Lives of which something was not told.
    pub incomplete: Vec<String>,
    /// One life of each of these two.
    pub examples: BTreeMap<String, String>,
    /// What was wrong.
    pub wrong: Vec<String>,
    /// Sums that differ, and by how much: what the kernel hid explains some.
    pub differences: Vec<(String, u64)>,
}

impl StormVerdict {
    /// Adds those of another round.
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

    /// How many events did not name whom they ought to.
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
