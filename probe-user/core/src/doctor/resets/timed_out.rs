//! Clients that close in order, by FIN, when an answer has not come in time: no RST shows it.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::at_once::ended_then;
use super::both::{length, range, timeout};
use super::group::{Group, title};
use super::share::Share;
use super::{Explained, Explanation, SOME};
use crate::model::pairs::{PairCounts, PairRow};
use crate::model::resets::spread::Similar;

/// Programs that send what wants no answer, and wait a moment before they close: `echo metric | nc -q1 graphite 2003`.
const ONE_WAY: [&str; 4] = ["nc", "ncat", "netcat", "socat"];

/// Connections of a pair that were given up after that time, or after any if there is no common one.
fn given_up(counts: &PairCounts, waited: Option<Similar>) -> u64 {
    let unanswered = &counts.unanswered;
    match waited {
        Some(waited) => unanswered.waited.within(waited.min_ns, waited.max_ns),
        None => unanswered.count,
    }
}

/// Finds it for the clients of one destination.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    let unanswered = &group.counts.unanswered;
    if group.side != Side::Client || unanswered.count < SOME {
        return None;
    }
    // Clients that close at once in other cases, without having received anything, want no answers.
    if unanswered.never == unanswered.count && unanswered.at_once >= unanswered.count {
        return None;
    }
    let waited = timeout(&unanswered.waited);
    // Answers that came afterwards are counted at the same connections.
    let late = group.sent(ResetReason::DataAfterClose);
    let count = given_up(&group.counts, waited);
    if late > count {
        return None;
    }
    // A process that ends closes what it has open.
    let has_ended = |row: &&PairRow| {
        let (first_ns, last_ns) = row.counts.unanswered.at.range_ns();
        ended_then(facts, row, first_ns, last_ns)
    };
    if waited.is_none() && group.rows.iter().any(has_ended) {
        return None;
    }
    let share = Share::of(facts, group, count);
    let who = group.who(|counts| given_up(counts, waited));
    let name = title(&who);
    let is_one_way = unanswered.never == unanswered.count && only_one_way(group);
    let severity = match waited {
        _ if is_one_way => share.severity_of(0)?,
        Some(_) => share.severity()?,
        // Users that leave at any time.
        None => share.severity()?.min(Severity::Notice),
    };
    let place = group.destination;
    let after = waited.map_or_else(|| range(&unanswered.waited), length);
    let mut evidence = vec![format!(
        "{} to {place} in namespace {} were closed {after} after the client had sent its request, without an answer: {}",
        share.words(),
        facts.name(group.netns),
        advice::list(&who)
    )];
    evidence.push(match waited {
        Some(_) => {
            format!(
                "the same time again and again is a timeout of the client, and {place} is slower"
            )
        }
        None => "the times differ: no timeout, but users or programs that leave".to_owned(),
    });
    if is_one_way || unanswered.never == unanswered.count && share.is_of_all() {
        evidence.push(format!(
            "{place} was not seen to answer anything: it hangs, or its protocol has no answers (as of logs and metrics)"
        ));
    }
    if late > 0 {
        evidence.push(format!(
            "{late} answers came afterwards, and were answered by a RST (data_after_close)"
        ));
    }
    let is_proxy = serves(facts, group);
    if is_proxy {
        evidence.push(format!(
            "{name} is a server too: if its own client has left after that time, it passes that on (nginx: status 499; its own \
             timeout is 504)"
        ));
    }
    let mut explains = Explained::default();
    explains.add_group(group, ResetDirection::Sent, ResetReason::DataAfterClose);
    let mut to_do = vec![format!(
        "find out why {place} takes longer than {after} to answer: it is overloaded, or waits for something itself"
    )];
    to_do.push(format!(
        "or raise the timeout of {name} above the time that an answer takes (nginx: proxy_read_timeout; haproxy: timeout server; \
         curl: --max-time)"
    ));
    if is_one_way {
        to_do = vec!["nothing, if the protocol has no answers".to_owned()];
    }
    Some(Explanation {
        finding: Finding {
            id: "client_gives_up",
            severity,
            title: match waited {
                Some(_) => format!(
                    "{name} closes its connections to {place} after {after}, before the answer: {} ended so",
                    share.short()
                ),
                None => format!(
                    "{name} closes connections to {place} before the answer: {} ended so",
                    share.short()
                ),
            },
            evidence,
            figures: json!({
                "netns": group.netns, "remote": place.remote(), "share": share.figures(),
                "waited_ns": waited.map(|it| it.max_ns), "passed_on": 0,
                "closed_by": advice::figures(&who),
            }),
            to_do,
            settings: Vec::new(),
            do_not: vec![
                "settings of TIME_WAIT or keepalive: the connection was closed by the client's program".to_owned(),
            ],
        },
        explains,
    })
}

/// Whether only programs closed them that send without waiting for answers.
fn only_one_way(group: &Group<'_>) -> bool {
    let mut rows = group
        .rows
        .iter()
        .filter(|row| row.counts.unanswered.count > 0);
    rows.all(|row| {
        let process = row.process.as_ref();
        process.is_some_and(|process| ONE_WAY.contains(&&*process.comm.text()))
    })
}

/// Whether the process with the most of them was seen as a server, too.
fn serves(facts: &DoctorFacts, group: &Group<'_>) -> bool {
    let rows = group.rows.iter();
    let most = rows.max_by_key(|row| row.counts.unanswered.count);
    let Some(process) = most.and_then(|row| row.process.as_ref()) else {
        return false;
    };
    let mut rows = facts.pairs.iter().filter(|row| row.side == Side::Server);
    rows.any(|row| {
        let other = row.process.as_ref();
        other.is_some_and(|other| other.key == process.key || other.comm == process.comm)
    })
}
