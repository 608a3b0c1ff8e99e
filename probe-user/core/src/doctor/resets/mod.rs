//! RSTs that have a known cause: what failed, what share of the connections that is, and who has to change what.

mod at_once;
mod both;
mod early_close;
mod gave_up;
mod group;
mod keepalive;
mod limit;
mod listener_closed;
mod no_answer;
mod not_listening;
mod passed_on;
mod received;
mod share;
mod stale;
mod timed_out;
mod turned_away;
mod unread_answer;
mod waited;
mod workers_ended;

use std::collections::BTreeMap;

use twtrace_wire::{ProcessKey, ResetDirection, ResetReason, Side};

use super::bounded;
use super::facts::DoctorFacts;
use super::finding::Finding;
use super::reset_storm;
use crate::event::answerable::Answerable;
use crate::event::words::Word;
use crate::model::destination::Destination;
use crate::model::pairs::{self, PairCounts, PairRow};
use crate::model::resets::ResetPattern;
pub use both::{length, timeout};
use group::Group;
pub use group::title;

/// Fewer RSTs may be single mishaps, and have no share and no pattern.
const SOME: u64 = 5;
/// A finding, and the RSTs that it explains.
struct Explanation {
    finding: Finding,
    explains: Explained,
}

/// All explanations.
#[derive(Default)]
struct Explanations {
    found: Vec<Explanation>,
    /// RSTs of clients that exited with connections open: no fault, and no finding.
    unfound: Explained,
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

    /// Some of the RSTs of a reason that a group sent.
    fn add_rows(
        &mut self,
        group: &Group<'_>,
        reason: ResetReason,
        number: impl Fn(&ResetPattern) -> u64,
    ) {
        self.add_counted(group, reason, |counts| {
            counts.patterns.of_sent(reason, &number)
        });
    }

    /// The same by the figures of each row.
    fn add_counted(
        &mut self,
        group: &Group<'_>,
        reason: ResetReason,
        number: impl Fn(&PairCounts) -> u64,
    ) {
        for row in &group.rows {
            let count = number(&row.counts);
            self.add(ResetDirection::Sent, reason, name(row.answerable()), count);
        }
    }

    /// All RSTs of a reason that a group sent or received, without those that [`explained`] adds for their ends.
    fn add_group(&mut self, group: &Group<'_>, direction: ResetDirection, reason: ResetReason) {
        for row in &group.rows {
            let counts = match direction {
                ResetDirection::Sent => &row.counts.deaths.reset_sent,
                ResetDirection::Received => &row.counts.deaths.reset_received,
            };
            let settled = match direction {
                ResetDirection::Sent => 0,
                ResetDirection::Received => {
                    let pattern = row.counts.patterns.of(direction, reason);
                    pattern.map_or(0, ResetPattern::settled)
                }
            };
            let count = counts.of(reason).saturating_sub(settled);
            self.add(direction, reason, name(row.answerable()), count);
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

/// One finding for each service, or each destination of clients; then RSTs that these do not explain.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let explanations = explanations(facts);
    let storms = reset_storm::check(facts, &explained(facts, &explanations));
    let mut findings = shown(explanations.found);
    findings.extend(storms);
    findings
}

/// The worst of each kind and namespace, and among those the ones with the most RSTs.
fn shown(explanations: Vec<Explanation>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = explanations.into_iter().map(|it| it.finding).collect();
    findings.sort_by_key(|finding| {
        let failed = finding.figures["share"]["failed"].as_u64();
        std::cmp::Reverse((finding.severity, failed))
    });
    bounded::findings(
        findings.into_iter(),
        |finding| (finding.figures["netns"].as_u64(), finding.id),
        |finding| finding,
        "findings of this kind in this namespace are not shown",
    )
}

/// The RSTs that findings explain. A RST whose sender is on this host is a matter of its sender, and one that arrived after
/// this end had closed is no loss.
fn explained(facts: &DoctorFacts, explanations: &Explanations) -> Explained {
    let mut all = Explained::default();
    let found = explanations.found.iter().map(|it| &it.explains);
    for explains in found.chain([&explanations.unfound]) {
        for ((direction, reason, name), count) in &explains.0 {
            all.add(*direction, *reason, name.clone(), *count);
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
                    pattern.settled(),
                );
            }
            let sent = row.counts.patterns.of(ResetDirection::Sent, reason);
            if let Some(pattern) = sent {
                all.add(ResetDirection::Sent, reason, who.clone(), pattern.echoes);
            }
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

fn explanations(facts: &DoctorFacts) -> Explanations {
    let groups = group::groups(facts);
    let mut all = Explanations::default();
    for group in &groups {
        match at_once::of(facts, group) {
            Some(at_once) if group.side == Side::Client => at_once.explain(&mut all.unfound),
            Some(at_once) => all.found.extend(at_once::find(facts, group, &at_once)),
            None => {
                all.found.extend(of_service(facts, group));
                all.found.extend(of_clients(facts, group));
            }
        }
        all.found.extend(not_listening::find(facts, group));
        all.found.extend(received::find(facts, group));
    }
    all
}

/// What a service did to its connections: each RST has one cause.
fn of_service(facts: &DoctorFacts, group: &Group<'_>) -> Vec<Explanation> {
    let mut all = Vec::new();
    let ended = workers_ended::find(facts, group).filter(|_| !stale::is_stale(group));
    if let Some(ended) = ended {
        all.push(ended);
    } else {
        all.extend(limit::find(facts, group));
        all.extend(early_close::find(facts, group));
        all.extend(keepalive::find(facts, group));
        all.extend(stale::find(facts, group));
    }
    all.extend(turned_away::find(facts, group));
    all.extend(listener_closed::find(facts, group));
    all.extend(no_answer::find(facts, group));
    all
}

/// What clients did to theirs.
fn of_clients(facts: &DoctorFacts, group: &Group<'_>) -> Vec<Explanation> {
    if group.side != Side::Client {
        return Vec::new();
    }
    let all = [
        timed_out::find(facts, group).or_else(|| gave_up::find(facts, group)),
        waited::find(facts, group),
        unread_answer::find(facts, group),
    ];
    all.into_iter().flatten().collect()
}

/// A row of a namespace: its side, destination and process.
pub type RowKey = (u32, u32, Destination, ProcessKey);

/// The key of a row.
pub fn row_key(row: &PairRow) -> RowKey {
    let key = row.answerable().key();
    (row.netns, row.side as u32, row.destination, key)
}

/// How many connections of each row were closed with SO_LINGER 0 as other findings explain.
pub fn lingers_explained(facts: &DoctorFacts) -> BTreeMap<RowKey, u64> {
    let groups = group::groups(facts);
    let lingering = groups
        .iter()
        .filter(|group| group.sent(ResetReason::LingerZero) > 0);
    let mut explained = BTreeMap::new();
    for group in lingering {
        if let Some(at_once) = at_once::of(facts, group) {
            let rows = at_once.lingers();
            explained.extend(rows.map(|(row, count)| (row_key(row), count)));
        } else if waited::find(facts, group).is_some() {
            let rows = group.rows.iter();
            explained.extend(rows.map(|row| (row_key(row), waited::of_row(group, row))));
        }
    }
    explained
}

#[cfg(test)]
#[path = "resets_tests.rs"]
mod tests;
