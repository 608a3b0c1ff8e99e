//! Servers that turn connections away in order: they send a line that says why, and close by FIN.

use serde_json::json;
use twtrace_wire::Side;

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::group::{Group, title};
use super::limit::{self, COMPARE};
use super::share::Share;
use super::{Explained, Explanation, SOME};

/// Finds it for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    let count = limit::turned_away(group, &group.counts);
    if group.side != Side::Server
        || count < SOME
        || limit::is_limit(group)
        || !limit::turns_away(facts, group)
    {
        return None;
    }
    let share = Share::of(facts, group, count);
    // Some services greet their clients and close, each time; and some sessions are as short.
    let unasked = group.counts.unanswered.turned_away;
    let is_doubtful =
        !limit::is_known(group) || limit::may_be_last_word(group) && unasked * 2 < count;
    let severity = match is_doubtful {
        true => share.severity()?.min(Severity::Notice),
        false => share.severity()?,
    };
    let who = group.who(|counts| limit::turned_away(group, counts));
    let name = title(&who);
    let place = group.destination;
    let mut evidence = vec![
        format!(
            "{} of {place} in namespace {} were closed by the server within 2 s after the handshake, with {} bytes or fewer sent: {}",
            share.words(),
            facts.name(group.netns),
            if unasked == count { 512 } else { 300 },
            advice::list(&who)
        ),
        "so does a server that has no room for a session (\"too many connections\", \"connection slots are reserved\"), or does not let \
         this client in; the line says which, and so does the client's error"
            .to_owned(),
    ];
    if is_doubtful {
        evidence.push(
            "a short session, and a service that greets its clients and closes, look the same: only errors of the clients tell"
                .to_owned(),
        );
    }
    Some(Explanation {
        finding: Finding {
            id: "connection_limit",
            severity,
            title: match is_doubtful {
                true => format!(
                    "{name} on {place} may turn connections away: it sends a little and closes: {}",
                    share.short()
                ),
                false => format!(
                    "{name} on {place} turns connections away: it sends a line and closes: {}",
                    share.short()
                ),
            },
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "share": share.figures(),
                "unread_data": 0, "data_after_close": 0, "turned_away": count, "closed_by": advice::figures(&who),
            }),
            to_do: vec![
                format!("read its log or the client's error, and {COMPARE}"),
                format!(
                    "see who has its connections: {}",
                    facts.command(group.netns, &format!("ss -tnp 'sport = {place}'"))
                ),
                "let clients share connections (a pool with a bound; for PostgreSQL pgbouncer), or raise the limit".to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![
                "net.core.somaxconn or the backlog: these connections were accepted".to_owned(),
            ],
        },
        explains: Explained::default(),
    })
}
