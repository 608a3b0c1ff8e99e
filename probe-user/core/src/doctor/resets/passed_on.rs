//! Proxies whose own clients leave.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::group::{Group, title};
use super::share::Share;
use super::{Explained, Explanation, SOME};
use crate::model::resets::ResetPattern;

/// Whether most connections were closed just after a client of the same process had left, and clearly more than chance explains.
pub fn is_proven(pattern: &ResetPattern) -> bool {
    pattern.passed_on >= SOME
        && pattern.passed_on * 2 > pattern.count
        && pattern.passed_on * 1_000 >= pattern.passed_by_chance * 2
}

/// What to say if that is not proven.
pub fn may_be(name: &str, passed_on: u64, failed: u64) -> Option<String> {
    (passed_on > 0 && passed_on * 5 >= failed).then(|| {
        format!(
            "{passed_on} of them were closed within 50 ms after {name} had received a RST from a client of its own: by chance, or as \
             it passes on that end"
        )
    })
}

/// The finding about the RSTs that a proxy sent for a reason.
pub fn find(facts: &DoctorFacts, group: &Group<'_>, reason: ResetReason) -> Option<Explanation> {
    let pattern = group.pattern(ResetDirection::Sent, reason)?;
    let passed_on = pattern.passed_on;
    let share = Share::of(facts, group, passed_on);
    let severity = share.severity_of(passed_on.saturating_sub(pattern.unanswered))?;
    let who = group.who(|counts| {
        let patterns = &counts.patterns;
        patterns.of_sent(reason, |pattern| pattern.passed_on)
    });
    let name = title(&who);
    let place = group.destination;
    let mut evidence = vec![
        format!(
            "{} to {place} in namespace {} were closed before the peer had sent all: {}",
            share.words(),
            facts.name(group.netns),
            advice::list(&who)
        ),
        format!(
            "they were closed just after {name} had received a RST from a client of its own: it passes on that end, and is not its \
             cause"
        ),
    ];
    let others = pattern.count - passed_on;
    if others > 0 {
        evidence.push(format!(
            "{others} more were closed without such a RST: their clients left by FIN, or they have another cause"
        ));
    }
    let mut explains = Explained::default();
    explains.add_rows(group, reason, |pattern| pattern.passed_on);
    Some(Explanation {
        finding: Finding {
            id: "client_gives_up",
            severity,
            title: format!(
                "clients of {name} leave before the answer, and it closes its connections to {place}: {} ended so",
                share.short()
            ),
            evidence,
            figures: json!({
                "netns": group.netns, "remote": place.remote(), "share": share.figures(),
                "waited_ns": null, "passed_on": passed_on, "resets_by": advice::figures(&who),
            }),
            to_do: vec![
                format!(
                    "find out which clients of {name} leave, and after which time: its access log (nginx: status 499; haproxy: C in \
                     the termination state)"
                ),
                format!("or why {place} takes longer than they wait"),
            ],
            settings: Vec::new(),
            do_not: vec![format!("timeouts of {name}: its clients close first")],
        },
        explains,
    })
}
