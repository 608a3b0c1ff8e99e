//! Servers that close right after accept(): a limit of connections.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::both::range;
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation, SOME};
use crate::model::resets::ResetPattern;

/// The part of the RSTs over unread requests that has to be of this kind, in percent.
const MOST_PERCENT: u64 = 80;
const REASONS: [ResetReason; 2] = [ResetReason::UnreadData, ResetReason::DataAfterClose];

/// What to do about a limit.
pub const COMPARE: &str = "compare its limit with its connections (sshd: MaxStartups, PerSourceMaxStartups; redis: maxclients, INFO \
    stats: rejected_connections; databases: max_connections; proxies: limits for each address)";

/// Whether nearly all RSTs of a service over unread requests are of connections that it closed right after accept().
pub fn is_limit(group: &Group<'_>) -> bool {
    let sum = |number: fn(&ResetPattern) -> u64| -> u64 {
        REASONS
            .into_iter()
            .map(|reason| group.of_sent(reason, number))
            .sum()
    };
    let refused = sum(|pattern| pattern.right_after_accept);
    group.side == Side::Server
        && refused >= SOME
        && refused * 100 >= sum(|pattern| pattern.count) * MOST_PERCENT
}

/// The RSTs of a pattern that are of these, if a service has a limit.
pub fn part(group: &Group<'_>, pattern: &ResetPattern) -> u64 {
    match is_limit(group) {
        true => pattern.right_after_accept,
        false => 0,
    }
}

/// Finds it for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if !is_limit(group) {
        return None;
    }
    let refused = |reason| group.of_sent(reason, |pattern| pattern.right_after_accept);
    let unread = refused(ResetReason::UnreadData);
    let late = refused(ResetReason::DataAfterClose);
    let certain = group.of_sent(ResetReason::DataAfterClose, ResetPattern::certain);
    let share = Share::of(facts, group, unread + late);
    let severity = share.severity_of(unread.saturating_add(certain.min(late)))?;
    let who = group.who(|counts| {
        let refused = |pattern: &ResetPattern| pattern.right_after_accept;
        let reasons = REASONS.into_iter();
        reasons
            .map(|reason| counts.patterns.of_sent(reason, refused))
            .sum()
    });
    let name = title(&who);
    let place = group.destination;
    let patterns = || {
        REASONS
            .into_iter()
            .filter_map(|reason| group.pattern(ResetDirection::Sent, reason))
    };
    let lasted = patterns()
        .max_by_key(|pattern| pattern.count)
        .map(|pattern| range(&pattern.age));
    let mut evidence = vec![format!(
        "{} of {place} in namespace {} were closed right after they had been accepted, {} after the handshake: {}",
        share.words(),
        facts.name(group.netns),
        lasted.unwrap_or_default(),
        advice::list(&who)
    )];
    evidence.push(
        "the server gave no answer: it sent nothing, or a line before anything had come. So does a server that has reached its \
         limit of connections, and one that rejects certain clients. The RST may also remove the line that says why"
            .to_owned(),
    );
    evidence.extend(named_others(
        "clients on this host",
        patterns().flat_map(|it| &it.other_ends),
    ));
    let mut explains = Explained::default();
    for reason in REASONS {
        explains.add_rows(group, reason, |pattern| pattern.right_after_accept);
    }
    Some(Explanation {
        finding: Finding {
            id: "connection_limit",
            severity,
            title: format!(
                "{name} on {place} closes connections right after it has accepted them, without an answer, as at a limit of \
                 connections: {}",
                share.short()
            ),
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "share": share.figures(),
                "unread_data": unread, "data_after_close": late, "resets_by": advice::figures(&who),
            }),
            to_do: vec![
                format!("read its log, and {COMPARE}"),
                format!(
                    "see who has connections open: {}",
                    facts.command(
                        group.netns,
                        &format!("ss -tnp 'sport = {place}'")
                    )
                ),
                "raise the limit, or have clients keep and share connections (a pool)".to_owned(),
                "if it has no such limit, look for a rule that rejects these clients (deny lists; nginx: return 444), and have \
                 it read first what its clients send"
                    .to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![
                "net.core.somaxconn or the backlog: these connections were accepted".to_owned(),
            ],
        },
        explains,
    })
}
