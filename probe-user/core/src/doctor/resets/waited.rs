//! Clients that close by RST (SO_LINGER 0) when an answer has not come in time, as haproxy does.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::both::{PAUSE_NS, length, timeout};
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation, SOME};

/// The part of the RSTs to one destination that has to be of connections that awaited an answer, in percent.
const MOST_PERCENT: u64 = 80;

/// Finds it for the clients of one destination.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::LingerZero)?;
    let awaited = pattern.awaited_answer;
    if group.side != Side::Client || awaited < SOME || awaited * 100 < pattern.count * MOST_PERCENT
    {
        return None;
    }
    let waited = timeout(&pattern.quiet).filter(|it| it.min_ns >= PAUSE_NS)?;
    let share = Share::of(facts, group, pattern.count);
    let severity = share.severity()?;
    let who = group.who(|counts| counts.deaths.reset_sent.of(ResetReason::LingerZero));
    let name = title(&who);
    let place = group.destination;
    let after = length(waited);
    let mut evidence = vec![
        format!(
            "{} to {place} in namespace {} were closed by RST (SO_LINGER 0) {after} after the client had sent its request: {}",
            share.words(),
            facts.name(group.netns),
            advice::list(&who)
        ),
        format!(
            "{awaited} of them had no answer to it yet: the same time again and again is a timeout of the client, and {place} is \
             slower"
        ),
    ];
    evidence.extend(named_others("servers on this host", &pattern.other_ends));
    let mut explains = Explained::default();
    explains.add_group(group, ResetDirection::Sent, ResetReason::LingerZero);
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
                "waited_ns": waited.min_ns, "passed_on": pattern.passed_on, "resets_by": advice::figures(&who),
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
