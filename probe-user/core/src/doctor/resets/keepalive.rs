//! The keep-alive race: one end closes an idle connection just when the other one sends its next request.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::super::advice;
use super::super::facts::DoctorFacts;
use super::super::finding::{Finding, Severity};
use super::both::{self, PAUSE_NS, range, rounded, similar};
use super::group::{Group, named_others, title};
use super::share::Share;
use super::{Explained, Explanation, SOME, limit};
use crate::event::timestamp::SECOND_NS;
use crate::model::pairs::PairCounts;
use crate::model::resets::ResetPattern;
use crate::model::resets::spread::Similar;

/// Where the other end was not seen to lose anything.
pub const LIKE_CLOSE_NOTIFY: &str = "no client was seen to lose anything: a TLS client that closes too sends a closing alert \
    (close_notify) first, which looks the same here and loses nothing";

/// Data that came too late, and did matter; and what was unread, unless nearly all of the former were closing alerts: then that is
/// likely to be the same.
fn certain(pattern: &ResetPattern, unread: u64) -> u64 {
    let certain = pattern.certain();
    match certain {
        0 if pattern.of_alert_size > 0 => 0,
        _ => certain.saturating_add(unread),
    }
}

/// What may be harmless of these RSTs: `alerts` of `count` have the size of a closing alert.
pub fn doubt(certain: u64, alerts: u64, count: u64) -> Option<String> {
    match (certain, alerts) {
        (_, 1..) => Some(format!(
            "{} of them answer data of the size of a TLS closing alert (close_notify): that loses nothing",
            alerts.min(count)
        )),
        (0, 0) => Some(LIKE_CLOSE_NOTIFY.to_owned()),
        _ => None,
    }
}

const RETRY: &str = "have the client try a request again that failed on a connection it had used before (nginx does so: \
    proxy_next_upstream; only if the request may be repeated)";

/// Whether the late data of a service's clients met connections that had been idle.
pub fn is_race(group: &Group<'_>) -> bool {
    pattern(group).is_some_and(|pattern| {
        let long = pattern.quiet.most().filter(|most| most.min_ns >= PAUSE_NS);
        long.is_some_and(|most| most.count * 2 > pattern.quiet.count())
            || pattern
                .quiet
                .range_ns()
                .is_some_and(|(min_ns, _)| min_ns >= PAUSE_NS)
    })
}

/// Requests of a race that came in time, and that the server did not read any more: their connections had been idle for the
/// timeout of the late ones, and they are no separate matter. A few late ones prove no timeout.
#[derive(Clone, Copy, Debug)]
pub struct InTime(Option<(u64, u64)>);

impl InTime {
    /// Those of a service.
    pub fn of(group: &Group<'_>) -> Self {
        let quiet = pattern(group).filter(|_| is_race(group));
        let timeout = quiet.and_then(|pattern| both::timeout(&pattern.quiet));
        Self(timeout.map(|it| {
            let slack_ns = it.slack_ns();
            (it.min_ns.saturating_sub(slack_ns), it.max_ns + slack_ns)
        }))
    }

    /// Their number among the RSTs for unread data of one process.
    pub fn among(self, pattern: &ResetPattern) -> u64 {
        self.0
            .map_or(0, |(min_ns, max_ns)| pattern.pause.within(min_ns, max_ns))
    }

    /// The same in its figures.
    pub fn counted(self, counts: &PairCounts) -> u64 {
        let among = |pattern: &ResetPattern| self.among(pattern);
        counts.patterns.of_sent(ResetReason::UnreadData, among)
    }

    /// The same of all processes of a service.
    pub fn total(self, group: &Group<'_>) -> u64 {
        group.rows.iter().map(|row| self.counted(&row.counts)).sum()
    }
}

fn pattern<'a>(group: &'a Group<'_>) -> Option<&'a ResetPattern> {
    group.pattern(ResetDirection::Sent, ResetReason::DataAfterClose)
}

/// Finds it for one service, or at a client whose server is not on this host.
pub fn find(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    match group.side {
        Side::Server => at_server(facts, group),
        Side::Client => at_client(facts, group),
        Side::Unknown => None,
    }
}

fn at_server(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    if !is_race(group) {
        return None;
    }
    let pattern = pattern(group)?;
    let in_time = InTime::of(group);
    let unread = in_time.total(group);
    // Those of a limit of connections are explained there.
    let late_of = |pattern: &ResetPattern| pattern.count - limit::part(group, pattern);
    let late = late_of(pattern);
    let share = Share::of(facts, group, late.saturating_add(unread));
    let certain = certain(pattern, unread);
    let severity = share.severity_of(certain)?;
    let who = group.who(|counts| {
        let late = counts
            .patterns
            .of_sent(ResetReason::DataAfterClose, late_of);
        late + in_time.counted(counts)
    });
    let name = title(&who);
    let timeout = both::timeout(&pattern.quiet);
    let place = group.destination;
    let mut evidence = vec![
        format!(
            "{} of {place} in namespace {} were reset: the client's next request came {} after {name} had closed",
            share.words(),
            facts.name(group.netns),
            range(&pattern.after_close)
        ),
        match timeout {
            Some(timeout) if both::is_swept(timeout) => format!(
                "the server had closed them after {} without data: that is a keep-alive timeout that it checks about once a \
                 second, of the shortest of these or up to 1 s less; its clients keep connections for longer",
                similar(timeout)
            ),
            Some(timeout) => format!(
                "the server had closed them after {} without data: that is its keep-alive timeout, and its clients keep \
                 connections for longer",
                similar(timeout)
            ),
            None => format!(
                "the server had closed them after {} without data: not one timeout; a limit of requests, or a reload, \
                 has the same effect",
                range(&pattern.quiet)
            ),
        },
    ];
    if unread > 0 {
        evidence.push(format!(
            "{unread} more had their request unread as the server closed: it came just before"
        ));
    }
    evidence.extend(doubt(certain, pattern.of_alert_size, late));
    let late_ns = pattern.after_close.range_ns();
    if late_ns.is_some_and(|(min_ns, _)| min_ns >= SECOND_NS) {
        evidence.push(
            "the clients had a second or more to see the close: they do not check a connection before they use it again"
                .to_owned(),
        );
    }
    evidence.extend(named_others("clients on this host", &pattern.other_ends));
    let mut explains = Explained::default();
    explains.add_rows(group, ResetReason::DataAfterClose, late_of);
    explains.add_rows(group, ResetReason::UnreadData, |pattern| {
        in_time.among(pattern)
    });
    let figures = json!({
        "netns": group.netns, "local": place.local(), "remote": null, "share": share.figures(),
        "idle_ns": timeout.map(|it| it.max_ns), "resets_by": advice::figures(&who),
    });
    Some(Explanation {
        finding: race(
            severity,
            format!(
                "{name} on {place} closes idle connections{} while clients send: {} {} a request",
                after(timeout),
                share.short(),
                if certain == 0 { "may lose" } else { "lose" }
            ),
            evidence,
            figures,
            timeout,
        ),
        explains,
    })
}

fn at_client(facts: &DoctorFacts, group: &Group<'_>) -> Option<Explanation> {
    let pattern = group.pattern(ResetDirection::Received, ResetReason::Peer)?;
    let elsewhere = pattern.count.saturating_sub(pattern.settled());
    let idle_ns = pattern.quiet.most()?.min_ns;
    if elsewhere < SOME
        || pattern.after_fin * 2 < pattern.count.saturating_sub(pattern.after_own_close)
        || idle_ns < PAUSE_NS
    {
        return None;
    }
    let share = Share::of(facts, group, elsewhere);
    let severity = share.severity()?;
    let who = group.who(|counts| counts.deaths.reset_received.of(ResetReason::Peer));
    let name = title(&who);
    let timeout = both::timeout(&pattern.quiet);
    let place = group.destination;
    let idle = timeout.map_or_else(|| range(&pattern.quiet), similar);
    let mut explains = Explained::default();
    explains.add_group(group, ResetDirection::Received, ResetReason::Peer);
    Some(Explanation {
        finding: race(
            severity,
            format!(
                "{place} closes idle connections{} while {name} sends: {} lose a request",
                after(timeout),
                share.short()
            ),
            vec![format!(
                "{} to {place} in namespace {} were reset: {} of them after the server's FIN had arrived, which was {idle} \
                 after the last data: {}",
                share.words(),
                facts.name(group.netns),
                pattern.after_fin,
                advice::list(&who)
            )],
            json!({
                "netns": group.netns, "local": null, "remote": place.remote(), "share": share.figures(),
                "idle_ns": timeout.map(|it| it.max_ns), "resets_by": advice::figures(&who),
            }),
            timeout,
        ),
        explains,
    })
}

fn after(timeout: Option<Similar>) -> String {
    timeout.map_or(String::new(), |it| format!(" after {}", both::length(it)))
}

fn race(
    severity: Severity,
    title: String,
    evidence: Vec<String>,
    figures: serde_json::Value,
    timeout: Option<Similar>,
) -> Finding {
    let mut to_do = Vec::new();
    if let Some(timeout) = timeout {
        to_do.push(format!(
            "let the client close first: its idle timeout has to be below {}, with a margin (nginx: \
             keepalive_timeout in upstream; node: agentkeepalive's freeSocketTimeout; Go: IdleConnTimeout)",
            rounded(both::shortest_ns(timeout))
        ));
        to_do.push(
            "or raise the server's keep-alive timeout above that of its clients (nginx: keepalive_timeout; node: \
             server.keepAliveTimeout; uvicorn: --timeout-keep-alive; gunicorn: --keep-alive; redis: timeout)"
                .to_owned(),
        );
    } else {
        to_do.push(
            "let the client close idle connections before the server does (its idle timeout below the server's \
             keep-alive timeout), and the server finish the requests that arrive while it reloads"
                .to_owned(),
        );
    }
    to_do.push(RETRY.to_owned());
    Finding {
        id: "keepalive_race",
        severity,
        title,
        evidence,
        figures,
        to_do,
        settings: Vec::new(),
        do_not: vec![
            "TCP keepalive (SO_KEEPALIVE): its probes do not count as requests, and the server closes all the same"
                .to_owned(),
        ],
    }
}
