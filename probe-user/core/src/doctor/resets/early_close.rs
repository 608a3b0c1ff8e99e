//! Servers that close while their clients still send: the clients lose the answer.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation, keepalive, limit, stale};
use crate::model::pairs::PairCounts;
use crate::model::resets::ResetPattern;

/// Where all that came too late are closing alerts.
pub const NOTHING_TO_DO: &str = "an alert only says that the connection ends, which both ends know";

/// Finds it for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if group.side != Side::Server {
        return None;
    }
    // Those of a keep-alive race, and of a limit of connections, are explained there.
    let in_time = keepalive::InTime::of(group);
    let is_late = !keepalive::is_race(group) && !stale::is_stale(group);
    let of_reason = |counts: &PairCounts, reason| {
        let patterns = &counts.patterns;
        let limited = patterns.of_sent(reason, |pattern| limit::part(group, pattern));
        let sent = counts.deaths.reset_sent.of(reason);
        sent.saturating_sub(limited)
    };
    let unread_of = |counts: &PairCounts| {
        of_reason(counts, ResetReason::UnreadData).saturating_sub(in_time.counted(counts))
    };
    let late_of = |counts: &PairCounts| match is_late {
        true => of_reason(counts, ResetReason::DataAfterClose),
        false => 0,
    };
    let sum = |number: &dyn Fn(&PairCounts) -> u64| -> u64 {
        group.rows.iter().map(|row| number(&row.counts)).sum()
    };
    let (unread, late) = (sum(&unread_of), sum(&late_of));
    let share = Share::of(facts, group, unread + late);
    let reasons = || {
        [ResetReason::UnreadData, ResetReason::DataAfterClose]
            .into_iter()
            .filter(|reason| *reason == ResetReason::UnreadData || is_late)
    };
    let of_all = |number: fn(&ResetPattern) -> u64| -> u64 {
        reasons().map(|reason| group.of_sent(reason, number)).sum()
    };
    let alerts = of_all(|pattern| pattern.of_alert_size);
    let certain = group
        .of_sent(ResetReason::UnreadData, ResetPattern::certain)
        .min(unread)
        + match is_late {
            true => group
                .of_sent(ResetReason::DataAfterClose, ResetPattern::certain)
                .min(late),
            false => 0,
        };
    let severity = share.severity_of(certain)?;
    let who = group.who(|counts| unread_of(counts) + late_of(counts));
    let place = group.destination;
    let mut evidence = vec![format!(
        "{} of {place} in namespace {} were reset: {unread} were closed with data unread (unread_data), {late} \
         received data after the close (data_after_close): {}",
        share.words(),
        facts.name(group.netns),
        advice::list(&who)
    )];
    let is_harmless = alerts > 0 && alerts >= unread + late;
    if !is_harmless {
        evidence.push(
        "the RST removes what the client has not read yet: an answer such as 413 or 401 that was sent before the \
         close is lost, and the client sees \"connection reset by peer\""
            .to_owned(),
    );
    }
    evidence.extend(keepalive::doubt(certain, alerts, unread + late));
    let patterns = || reasons().filter_map(|reason| group.pattern(ResetDirection::Sent, reason));
    let at_once: u64 = patterns().map(|it| it.answered_at_once).sum();
    let may_be_limit = at_once * 2 > unread + late;
    if may_be_limit {
        evidence.push(format!(
            "{at_once} of them were closed within 0.1 s after the handshake, with 512 bytes or fewer sent: so does a server that \
             answers early, and one that has reached its limit of connections"
        ));
    }
    let ends = patterns().flat_map(|pattern| &pattern.other_ends);
    evidence.extend(named_others("clients on this host", ends));
    let reads_on = limit::reads_on(group) && !is_harmless;
    let mut to_do = if is_harmless {
        vec![format!("nothing: {NOTHING_TO_DO}")]
    } else if reads_on {
        vec![
            "see its log and its counters (redis: INFO stats, INFO clients) for what ends sessions: a command (CLIENT KILL), or a \
             limit (client-output-buffer-limit, maxmemory-clients)"
                .to_owned(),
            "have clients connect again, and try again what may be repeated".to_owned(),
        ]
    } else {
        vec![
        "have the server read the request to its end before it closes, also where it answers early (413, 401, 503)".to_owned(),
        "or close lingering: shutdown() for writing, then read until the client closes (nginx: lingering_close always, \
         lingering_timeout; node: request.resume() before response.end())"
            .to_owned(),
    ]
    };
    if may_be_limit {
        to_do.push(format!("if its log says so: {}", limit::COMPARE));
    }
    to_do.push("see them one by one: twtrace trace --event reset".to_owned());
    let mut explains = Explained::default();
    explains.add_counted(group, ResetReason::UnreadData, unread_of);
    explains.add_counted(group, ResetReason::DataAfterClose, late_of);
    Some(Explanation {
        finding: Finding {
            id: "request_not_read",
            severity,
            title: match is_harmless {
                true => format!(
                    "{} on {place} closes before the closing alerts of its TLS clients come: {} connections",
                    title(&who),
                    share.short()
                ),
                false if reads_on => format!(
                    "{} on {place} ends connections while its clients use them: {} are reset",
                    title(&who),
                    share.short()
                ),
                false => format!(
                    "{} on {place} closes before it has read what its clients send: {} connections are reset",
                    title(&who),
                    share.short()
                ),
            },
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "share": share.figures(),
                "unread_data": unread, "data_after_close": late, "resets_by": advice::figures(&who),
            }),
            to_do,
            settings: Vec::new(),
            do_not: vec![
                "larger socket buffers or keepalive: the RST is sent because data is unread, however much room there is"
                    .to_owned(),
            ],
        },
        explains,
    })
}
