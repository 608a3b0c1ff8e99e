//! Servers that close while their clients still send: the clients lose the answer.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation, keepalive};

/// Finds it for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if group.side != Side::Server {
        return None;
    }
    // Those of a keep-alive race are explained there.
    let of_race = keepalive::unread(group);
    let unread = group.sent(ResetReason::UnreadData).saturating_sub(of_race);
    let is_late = !keepalive::is_race(group);
    let late = match is_late {
        true => group.sent(ResetReason::DataAfterClose),
        false => 0,
    };
    let share = Share::of(facts, group, unread + late);
    let met_open = match is_late {
        true => group
            .pattern(ResetDirection::Sent, ResetReason::DataAfterClose)
            .map_or(0, |pattern| pattern.met_open),
        false => 0,
    };
    let severity = share.severity_of(unread.saturating_add(met_open))?;
    let number = |counts: &crate::model::pairs::PairCounts| {
        let sent = &counts.deaths.reset_sent;
        let late = match is_late {
            true => sent.of(ResetReason::DataAfterClose),
            false => 0,
        };
        let pattern = counts
            .patterns
            .of(ResetDirection::Sent, ResetReason::UnreadData);
        let of_race = match is_late {
            true => 0,
            false => pattern.map_or(0, |pattern| pattern.unread_after_pause),
        };
        sent.of(ResetReason::UnreadData).saturating_sub(of_race) + late
    };
    let who = group.who(number);
    let place = group.destination;
    let mut evidence = vec![format!(
        "{} of {place} in namespace {} were reset: {unread} were closed with data unread (unread_data), {late} \
         received data after the close (data_after_close): {}",
        share.words(),
        facts.name(group.netns),
        advice::list(&who)
    )];
    evidence.push(
        "the RST removes what the client has not read yet: an answer such as 413 or 401 that was sent before the \
         close is lost, and the client sees \"connection reset by peer\""
            .to_owned(),
    );
    if unread == 0 && met_open == 0 {
        evidence.push(keepalive::LIKE_CLOSE_NOTIFY.to_owned());
    }
    let patterns = [ResetReason::UnreadData, ResetReason::DataAfterClose]
        .into_iter()
        .filter(|reason| *reason == ResetReason::UnreadData || is_late)
        .filter_map(|reason| group.pattern(ResetDirection::Sent, reason));
    let ends = patterns.flat_map(|pattern| &pattern.other_ends);
    evidence.extend(named_others("clients on this host", ends));
    let mut explains = Explained::default();
    if of_race > 0 {
        explains.add_rows(group, ResetReason::UnreadData, |pattern| {
            pattern.count - pattern.unread_after_pause
        });
    } else {
        explains.add_group(group, ResetDirection::Sent, ResetReason::UnreadData);
    }
    if is_late {
        explains.add_group(group, ResetDirection::Sent, ResetReason::DataAfterClose);
    }
    Some(Explanation {
        finding: Finding {
            id: "request_not_read",
            severity,
            title: format!(
                "{} on {place} closes before it has read what its clients send: {} connections are reset",
                title(&who),
                share.short()
            ),
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "share": share.figures(),
                "unread_data": unread, "data_after_close": late, "resets_by": advice::figures(&who),
            }),
            to_do: vec![
                "have the server read the request to its end before it closes, also where it answers early (413, \
                 401, 503)"
                    .to_owned(),
                "or close lingering: shutdown() for writing, then read until the client closes (nginx: \
                 lingering_close always, lingering_timeout; node: request.resume() before response.end())"
                    .to_owned(),
                "see them one by one: twtrace trace --event reset".to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![
                "larger socket buffers or keepalive: the RST is sent because data is unread, however much room there is"
                    .to_owned(),
            ],
        },
        explains,
    })
}
