//! Clients that close before the answer arrives.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::both::{PAUSE_NS, common, range, similar};
use super::early_close::NOTHING_TO_DO;
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation, passed_on};

/// Finds it for the clients of one destination.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if group.side != Side::Client {
        return None;
    }
    let failed = group.sent(ResetReason::DataAfterClose);
    let share = Share::of(facts, group, failed);
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::DataAfterClose);
    // Clients that only connect, such as health checks, want no answer: the data is a server's greeting.
    let without_request = pattern.map_or(0, |pattern| pattern.unanswered);
    let alerts = pattern.map_or(0, |pattern| pattern.of_alert_size);
    // The client stopped to read in the middle of an answer, as a user does who aborts a download.
    let begun = pattern.map_or(0, |pattern| pattern.answer_begun);
    let is_begun = begun * 2 > failed;
    let doubtful = without_request.saturating_add(alerts).saturating_add(begun);
    let timeout = pattern.and_then(|pattern| common(&pattern.quiet));
    let is_timeout = timeout.filter(|it| it.min_ns >= PAUSE_NS);
    // Without a timeout it may have had its answer, and data of another kind came later: in a chat, for one.
    let awaited = pattern.map_or(0, |pattern| {
        pattern.awaited.count().max(pattern.never_answered)
    });
    let certain = failed.saturating_sub(doubtful);
    let certain = match is_timeout {
        Some(_) => certain,
        None => certain.min(awaited),
    };
    let severity = share.severity_of(certain)?;
    let who = group.who(|counts| counts.deaths.reset_sent.of(ResetReason::DataAfterClose));
    let name = title(&who);
    let place = group.destination;
    // A proxy whose client has left closes its own connection too.
    if pattern.is_some_and(passed_on::is_proven) {
        return passed_on::find(facts, group, ResetReason::DataAfterClose);
    }
    let passed_on = pattern.map_or(0, |pattern| pattern.passed_on);
    let mut evidence = vec![format!(
        "{} to {place} in namespace {} were closed before the peer had sent all: {}",
        share.words(),
        facts.name(group.netns),
        advice::list(&who)
    )];
    if let Some(pattern) = pattern {
        evidence.push(format!(
            "the client had waited {} since it last sent; the data came {} after it had closed, and was answered by a RST",
            timeout.map_or_else(|| range(&pattern.quiet), similar),
            range(&pattern.after_close)
        ));
        evidence.extend(named_others("servers on this host", &pattern.other_ends));
    }
    if begun > 0 {
        evidence.push(format!(
            "{begun} of them had received a part of the answer: the client stops in the middle of it, as a user who aborts a \
             download"
        ));
    }
    if alerts > 0 {
        evidence.push(format!(
            "{alerts} of them answer data of the size of a TLS closing alert (close_notify): the server's reply to that of the client, \
             which loses nothing"
        ));
    }
    if without_request > 0 {
        evidence.push(format!(
            "{without_request} of these clients had sent nothing: health checks that only connect do so, to servers that \
             send a greeting first"
        ));
    }
    evidence.extend(passed_on::may_be(&name, passed_on, failed));
    let is_harmless = alerts > 0 && alerts >= failed;
    let after = is_timeout.map_or(String::new(), |it| format!(" after {}", similar(it)));
    let mut explains = Explained::default();
    explains.add_group(group, ResetDirection::Sent, ResetReason::DataAfterClose);
    Some(Explanation {
        finding: Finding {
            id: "client_gives_up",
            severity,
            title: match is_harmless {
                false if is_begun => format!(
                    "{name} closes its connections to {place}{after}, before it has read all of the answer: {} ended so",
                    share.short()
                ),
                true => format!(
                    "{name} closes its connections to {place} before the server's closing alert comes: {} ended so",
                    share.short()
                ),
                false => format!(
                    "{name} closes its connections to {place}{after}, before the answer: {} ended so",
                    share.short()
                ),
            },
            evidence,
            figures: json!({
                "netns": group.netns, "remote": place.remote(), "share": share.figures(),
                "waited_ns": timeout.map(|it| it.max_ns), "passed_on": passed_on, "resets_by": advice::figures(&who),
            }),
            to_do: match is_timeout {
                _ if is_harmless => vec![format!("nothing: {NOTHING_TO_DO}")],
                _ if is_begun => vec![
                    "nothing, if its users abort downloads, or it needs only the beginning of an answer".to_owned(),
                    "else find out why it stops: a time limit for the whole transfer (curl: --max-time), or a limit of size".to_owned(),
                ],
                Some(timeout) => vec![
                    format!(
                        "find out why {place} takes longer than {}: its answers come, but too late",
                        similar(timeout)
                    ),
                    "or raise the client's timeout above the time that an answer takes (nginx: proxy_read_timeout; \
                     curl: --max-time)"
                        .to_owned(),
                ],
                None => vec![
                    "have the client read the answer to its end before it closes".to_owned(),
                    "if it gives up on purpose, as health checks do: nothing; a proxy closes so when its own client has left"
                        .to_owned(),
                ],
            },
            settings: Vec::new(),
            do_not: vec![
                "settings of TIME_WAIT or keepalive: the connection was closed by the client's program".to_owned(),
            ],
        },
        explains,
    })
}
