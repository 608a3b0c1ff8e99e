//! Clients that close with data unread: an answer, or what a server sent without a request.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::super::reset_storm;
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation};
use crate::model::resets::ResetPattern;

/// Finds it for the clients of one destination: a notice, since clients may go away. Many of these cost something.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if group.side != Side::Client {
        return None;
    }
    let number = |pattern: &ResetPattern| pattern.count - pattern.unread_after_idle_close;
    let unread = group.of_sent(ResetReason::UnreadData, number);
    // Many, of which no destination has many, are one storm.
    let is_storm = reset_storm::is_storm(facts, unread);
    if !is_storm && reset_storm::is_storm(facts, total(facts)) {
        return None;
    }
    let share = Share::of(facts, group, unread);
    share.severity()?;
    let who = group.who(|counts| counts.patterns.of_sent(ResetReason::UnreadData, number));
    let name = title(&who);
    let place = group.destination;
    let mut evidence = vec![
        format!(
            "{} to {place} in namespace {} were closed by the client with data unread: {}",
            share.words(),
            facts.name(group.netns),
            advice::list(&who)
        ),
        "its close sends a RST: the server logs \"connection reset by peer\" or a broken pipe, and is not the cause".to_owned(),
    ];
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::UnreadData);
    let ends = pattern.map_or(&[][..], |pattern| &pattern.other_ends);
    evidence.extend(named_others("servers on this host", ends));
    let mut explains = Explained::default();
    explains.add_rows(group, ResetReason::UnreadData, number);
    Some(Explanation {
        finding: Finding {
            id: "answer_not_read",
            severity: match is_storm {
                true => Severity::Warning,
                false => Severity::Notice,
            },
            title: format!(
                "{name} closes its connections to {place} with data unread: {}",
                share.short()
            ),
            evidence,
            figures: json!({
                "netns": group.netns, "remote": place.remote(), "share": share.figures(), "resets_by": advice::figures(&who),
            }),
            to_do: vec![
                "have the client read the answer to its end before it closes, also where it needs only the status".to_owned(),
                "if it leaves on purpose, as browsers, health checks and canceled requests do, or if the data is only a TLS server's \
                 closing alert (close_notify): nothing"
                    .to_owned(),
                "see the client's own error: one that rejects the certificate of a TLS server, or its answer, closes so, too".to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec!["settings of the server: its answers arrived".to_owned()],
        },
        explains,
    })
}

/// RSTs over unread data of all clients.
fn total(facts: &DoctorFacts) -> u64 {
    let clients = facts.pairs.iter().filter(|row| row.side == Side::Client);
    let sent = clients.map(|row| row.counts.deaths.reset_sent.of(ResetReason::UnreadData));
    sent.sum()
}
