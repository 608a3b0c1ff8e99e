//! Servers that close right after accept(): a limit of connections.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::both::range;
use super::group::{Group, title};
use super::share::Share;
use super::{Explained, Explanation, SOME};
use crate::model::pairs::PairCounts;
use crate::model::resets::ResetPattern;

/// The part of the RSTs over unread requests that has to be of this kind, in percent.
const MOST_PERCENT: u64 = 80;
const REASONS: [ResetReason; 2] = [ResetReason::UnreadData, ResetReason::DataAfterClose];

/// What to do about a limit.
pub const COMPARE: &str = "compare its limit with its connections (sshd: MaxStartups, PerSourceMaxStartups; redis: maxclients, INFO \
    stats: rejected_connections; databases: max_connections; proxies: limits for each address)";

/// Servers that send more than a line to every client that they take, or whose clients end the session: one that they close first
/// after a line was refused.
const CLOSED_BY_CLIENTS: [&str; 4] = ["pgbouncer", "pgpool", "postgres", "sshd"];
/// Servers whose sessions may be as short, and end with a last word of their client: they often close first then.
const LAST_WORD: [&str; 2] = ["mariadbd", "mysqld"];
/// Servers that read on as long as their client sends, but where they refuse it.
const READ_ON: [&str; 3] = ["memcached", "redis-server", "valkey-server"];
/// From this part of all connections on, so many that such servers closed first after a short answer were refused, in percent.
const MUCH_PERCENT: u64 = 5;

/// Whether a service is one of these programs.
fn is_one_of(group: &Group<'_>, programs: &[&str]) -> bool {
    let mut rows = group.rows.iter();
    rows.any(|row| {
        let process = row.process.as_ref();
        process.is_some_and(|process| programs.contains(&&*process.comm.text()))
    })
}

/// Whether a service reads all that its clients send, until it ends the session.
pub fn reads_on(group: &Group<'_>) -> bool {
    is_one_of(group, &READ_ON)
}

/// The RSTs of a pattern by which a service refuses, if it has a limit.
fn refused(group: &Group<'_>, pattern: &ResetPattern) -> u64 {
    let is_short_refusal = is_one_of(group, &CLOSED_BY_CLIENTS)
        || is_one_of(group, &LAST_WORD)
        || is_one_of(group, &READ_ON)
        || group.counts.unanswered.turned_away >= SOME;
    match is_short_refusal {
        true => pattern.right_after_accept + pattern.answered_at_once,
        false => pattern.right_after_accept,
    }
}

/// Whether short sessions of a service look like refusals.
pub fn may_be_last_word(group: &Group<'_>) -> bool {
    is_one_of(group, &LAST_WORD)
}

/// Whether a service is known to greet no client just to close then.
pub fn is_known(group: &Group<'_>) -> bool {
    is_one_of(group, &CLOSED_BY_CLIENTS)
        || is_one_of(group, &READ_ON)
        || is_one_of(group, &LAST_WORD)
}

/// Connections of a service that it turned away in order, by FIN.
pub fn turned_away(group: &Group<'_>, counts: &PairCounts) -> u64 {
    let unanswered = &counts.unanswered;
    match is_one_of(group, &CLOSED_BY_CLIENTS) || may_be_last_word(group) {
        true => unanswered.turned_away + unanswered.answered_shortly,
        false => unanswered.turned_away,
    }
}

/// Whether a service has turned away so many of its connections that these are no single accidents.
pub fn turns_away(facts: &DoctorFacts, group: &Group<'_>) -> bool {
    let count = turned_away(group, &group.counts);
    let sent_first = group.counts.unanswered.turned_away;
    sent_first >= SOME || Share::of(facts, group, count).is_at_least(MUCH_PERCENT)
}

/// Whether nearly all RSTs of a service over unread requests are of connections that it closed right after accept().
pub fn is_limit(group: &Group<'_>) -> bool {
    let sum = |number: &dyn Fn(&ResetPattern) -> u64| -> u64 {
        REASONS
            .into_iter()
            .map(|reason| group.of_sent(reason, number))
            .sum()
    };
    let refused = sum(&|pattern| refused(group, pattern));
    group.side == Side::Server
        && refused >= SOME
        && refused * 100 >= sum(&|pattern| pattern.count) * MOST_PERCENT
}

/// The RSTs of a pattern that are of these, if a service has a limit.
pub fn part(group: &Group<'_>, pattern: &ResetPattern) -> u64 {
    match is_limit(group) {
        true => refused(group, pattern),
        false => 0,
    }
}

/// Finds it for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if !is_limit(group) {
        return None;
    }
    let of = |reason| group.of_sent(reason, |pattern| refused(group, pattern));
    let unread = of(ResetReason::UnreadData);
    let late = of(ResetReason::DataAfterClose);
    // Data that came too late mostly met a TIME_WAIT: that connection is among both.
    let in_order = turned_away(group, &group.counts).saturating_sub(late);
    let certain = group.of_sent(ResetReason::DataAfterClose, ResetPattern::certain);
    let share = Share::of(facts, group, unread + late + in_order);
    let certain = unread
        .saturating_add(certain.min(late))
        .saturating_add(in_order);
    let severity = share.severity_of(certain)?;
    let who = group.who(|counts| {
        let reasons = REASONS.into_iter();
        reasons
            .map(|reason| {
                counts
                    .patterns
                    .of_sent(reason, |pattern| refused(group, pattern))
            })
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
        "the server gave no answer, or a line. So does a server that has reached its limit of connections, and one that rejects \
         certain clients. The RST may also remove the line that says why"
            .to_owned(),
    );
    if in_order > 0 {
        evidence.push(format!(
            "{in_order} of them ended in order, by FIN, after that line"
        ));
    }
    evidence.extend(group.clients_here(&REASONS));
    let mut explains = Explained::default();
    for reason in REASONS {
        explains.add_rows(group, reason, |pattern| refused(group, pattern));
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
