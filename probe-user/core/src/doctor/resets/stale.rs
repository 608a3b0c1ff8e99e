//! Connections that a client uses long after its server has ended them.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::Finding;
use super::both::range;
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation, SOME, keepalive, limit};

/// The rest of a request that is being sent comes sooner after the close, nanoseconds.
const LATER_NS: u64 = 250_000_000;

/// Whether all late data of a service came so long after it had closed that it is no rest of a request; and it closed just
/// after it had sent something, so that no idle timeout shows. (That is a [race](keepalive).)
pub fn is_stale(group: &Group<'_>) -> bool {
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::DataAfterClose);
    group.side == Side::Server
        && !keepalive::is_race(group)
        && !limit::is_limit(group)
        && pattern.is_some_and(|pattern| {
            let later = pattern.after_close.range_ns();
            pattern.count >= SOME && later.is_some_and(|(min_ns, _)| min_ns >= LATER_NS)
        })
}

/// Finds it for one service.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    let pattern = group.pattern(ResetDirection::Sent, ResetReason::DataAfterClose)?;
    if !is_stale(group) {
        return None;
    }
    let share = Share::of(facts, group, pattern.count);
    let severity = share.severity_of(pattern.certain())?;
    let who = group.who(|counts| counts.deaths.reset_sent.of(ResetReason::DataAfterClose));
    let name = title(&who);
    let place = group.destination;
    let mut evidence = vec![
        format!(
            "{} of {place} in namespace {} were reset: the client sent {} after {name} had closed, which had sent something just \
             before: {}",
            share.words(),
            facts.name(group.netns),
            range(&pattern.after_close),
            advice::list(&who)
        ),
        "the server says why it ends a session, and closes (PostgreSQL: FATAL, terminating connection due to idle-session \
         timeout; HTTP: 408); the client reads neither that nor the end before it sends again, and loses what it sends"
            .to_owned(),
    ];
    evidence.extend(keepalive::doubt(
        pattern.certain(),
        pattern.of_alert_size,
        pattern.count,
    ));
    evidence.extend(named_others("clients on this host", &pattern.other_ends));
    let mut explains = Explained::default();
    explains.add_group(group, ResetDirection::Sent, ResetReason::DataAfterClose);
    Some(Explanation {
        finding: Finding {
            id: "stale_connection",
            severity,
            title: format!(
                "clients of {name} on {place} use connections that it has ended: {} lose a request",
                share.short()
            ),
            evidence,
            figures: json!({
                "netns": group.netns, "local": place.local(), "share": share.figures(),
                "after_close_ns": pattern.after_close.range_ns().map(|(_, max_ns)| max_ns), "resets_by": advice::figures(&who),
            }),
            to_do: vec![
                "read its log for why it ends them, and raise that timeout, or lower the time for which clients keep connections \
                 (PostgreSQL: idle_session_timeout, idle_in_transaction_session_timeout, pg_terminate_backend; haproxy: timeout \
                 client, timeout http-request)"
                    .to_owned(),
                "have the client's pool test a connection before it uses it again (testOnBorrow, pool_pre_ping), and try again"
                    .to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![
                "lingering_close, or reading the request to its end: it came after the session had ended".to_owned(),
            ],
        },
        explains,
    })
}
