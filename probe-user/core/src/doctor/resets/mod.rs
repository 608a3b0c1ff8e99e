//! RSTs that have a known cause: what failed, what share of the connections that is, and who has to change what.

mod both;
mod early_close;
mod gave_up;
mod group;
mod keepalive;
mod listener_closed;
mod not_listening;
mod received;
mod share;

use std::collections::BTreeMap;

use twtrace_wire::{ResetDirection, ResetReason};

use super::facts::DoctorFacts;
use super::finding::Finding;
use crate::event::answerable::Answerable;
use crate::event::words::Word;
use crate::model::pairs;
use group::Group;

/// Fewer RSTs may be single mishaps, and have no share and no pattern.
const SOME: u64 = 5;

/// A finding, and the RSTs that it explains.
struct Explanation {
    finding: Finding,
    explains: Explained,
}

/// Number of RSTs that findings explain, by direction, reason and the displayed name of their process.
#[derive(Debug, Default)]
pub struct Explained(BTreeMap<(ResetDirection, ResetReason, String), u64>);

impl Explained {
    /// Number of RSTs of a process that are explained.
    pub fn of(&self, direction: ResetDirection, reason: ResetReason, name: &str) -> u64 {
        let key = (direction, reason, name.to_owned());
        self.0.get(&key).copied().unwrap_or(0)
    }

    fn add(&mut self, direction: ResetDirection, reason: ResetReason, name: String, count: u64) {
        if count > 0 {
            *self.0.entry((direction, reason, name)).or_default() += count;
        }
    }

    /// All RSTs of a reason that a group sent or received.
    fn add_group(&mut self, group: &Group<'_>, direction: ResetDirection, reason: ResetReason) {
        for row in &group.rows {
            let counts = match direction {
                ResetDirection::Sent => &row.counts.deaths.reset_sent,
                ResetDirection::Received => &row.counts.deaths.reset_received,
            };
            self.add(direction, reason, name(row.answerable()), counts.of(reason));
        }
    }
}

/// The name of a row of processes or pairs.
pub fn name(who: Answerable<'_>) -> String {
    match who {
        Answerable::Process(process) => pairs::name(process),
        Answerable::Nobody(reason) => format!("({})", reason.word()),
        Answerable::Unknown => pairs::NOBODY.to_owned(),
    }
}

/// One finding for each service, or each destination of clients.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    explanations(facts)
        .into_iter()
        .map(|it| it.finding)
        .collect()
}

/// The RSTs that findings explain. A RST whose sender is on this host is a matter of its sender.
pub fn explained(facts: &DoctorFacts) -> Explained {
    let mut all = Explained::default();
    for explanation in explanations(facts) {
        for ((direction, reason, name), count) in explanation.explains.0 {
            all.add(direction, reason, name, count);
        }
    }
    for row in &facts.pairs {
        let who = name(row.answerable());
        for reason in ResetReason::MEMBERS.iter().copied() {
            let received = row.counts.patterns.of(ResetDirection::Received, reason);
            if let Some(pattern) = received {
                all.add(
                    ResetDirection::Received,
                    reason,
                    who.clone(),
                    pattern.matched,
                );
            }
            let sent = row.counts.patterns.of(ResetDirection::Sent, reason);
            if let Some(pattern) = sent
                && facts.aborts_on_overflow(row.netns)
            {
                all.add(
                    ResetDirection::Sent,
                    reason,
                    who.clone(),
                    pattern.of_listener,
                );
            }
        }
    }
    all
}

fn explanations(facts: &DoctorFacts) -> Vec<Explanation> {
    let groups = group::groups(facts);
    let mut all = Vec::new();
    for group in &groups {
        all.extend(early_close::find(facts, group));
        all.extend(keepalive::find(facts, group));
        all.extend(gave_up::find(facts, group));
        all.extend(listener_closed::find(facts, group));
        all.extend(not_listening::find(facts, group));
        all.extend(received::find(facts, group));
    }
    all
}

#[cfg(test)]
#[path = "resets_tests.rs"]
mod tests;
