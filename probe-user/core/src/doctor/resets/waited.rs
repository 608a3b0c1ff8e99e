//! Clients that close by RST (SO_LINGER 0) when an answer has not come in time, as haproxy does.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::both::{PAUSE_NS, common, similar};
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation, passed_on};
use crate::model::pairs::{PairCounts, PairRow};
use crate::model::resets::spread::Similar;

/// The time after which most connections of a group were closed that awaited an answer. Some programs close those that had one
/// by RST, too.
fn timeout(group: &Group<'_>) -> Option<Similar> {
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::LingerZero)?;
    let waited = common(&pattern.awaited).filter(|it| it.min_ns >= PAUSE_NS)?;
    (group.side == Side::Client).then_some(waited)
}

/// Those that awaited an answer and had waited for that time: at least so many.
fn gave_up(counts: &PairCounts, waited: Similar) -> u64 {
    counts.patterns.of_sent(ResetReason::LingerZero, |pattern| {
        pattern.awaited.within(waited.min_ns, waited.max_ns)
    })
}

/// Connections of a row that the finding of its group explains.
pub fn of_row(group: &Group<'_>, row: &PairRow) -> u64 {
    let patterns = &row.counts.patterns;
    match (is_passed_on(group), timeout(group)) {
        (true, _) => patterns.of_sent(ResetReason::LingerZero, |pattern| pattern.passed_on),
        (false, Some(waited)) => gave_up(&row.counts, waited),
        (false, None) => 0,
    }
}

fn is_passed_on(group: &Group<'_>) -> bool {
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::LingerZero);
    group.side == Side::Client && pattern.is_some_and(passed_on::is_proven)
}

/// Finds it for the clients of one destination.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if is_passed_on(group) {
        return passed_on::find(facts, group, ResetReason::LingerZero);
    }
    let waited = timeout(group)?;
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::LingerZero)?;
    let rows = group.rows.iter();
    let count: u64 = rows.map(|row| gave_up(&row.counts, waited)).sum();
    let share = Share::of(facts, group, count);
    let severity = share.severity()?;
    let who = group.who(|counts| gave_up(counts, waited));
    let name = title(&who);
    let place = group.destination;
    let after = similar(waited);
    let mut evidence = vec![
        format!(
            "{} to {place} in namespace {} were closed by RST (SO_LINGER 0) {after} after the client had sent its request: {}",
            share.words(),
            facts.name(group.netns),
            advice::list(&who)
        ),
        format!(
            "they had no answer to it yet: the same time again and again is a timeout of the client, and {place} is slower"
        ),
    ];
    evidence.extend(passed_on::may_be(&name, pattern.passed_on, pattern.count));
    evidence.extend(named_others("servers on this host", &pattern.other_ends));
    let mut explains = Explained::default();
    explains.add_counted(group, ResetReason::LingerZero, |counts| {
        gave_up(counts, waited)
    });
    Some(Explanation {
        finding: Finding {
            id: "client_gives_up",
            severity,
            title: format!(
                "{name} closes its connections to {place} after {after}, before the answer: {} ended so",
                share.short()
            ),
            evidence,
            figures: json!({
                "netns": group.netns, "remote": place.remote(), "share": share.figures(),
                "waited_ns": waited.max_ns, "passed_on": pattern.passed_on, "resets_by": advice::figures(&who),
            }),
            to_do: vec![
                format!("find out why {place} takes longer than {after} to answer"),
                format!(
                    "or raise the timeout of {name} above the time that an answer takes (haproxy: timeout server, in the backend; \
                     sH in its log)"
                ),
            ],
            settings: Vec::new(),
            do_not: vec![
                "SO_LINGER or settings of TIME_WAIT: how the client closes does not matter, its timeout does".to_owned(),
            ],
        },
        explains,
    })
}
