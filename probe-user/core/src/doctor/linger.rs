//! SO_LINGER with 0 seconds: closing by RST.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason, Side};

use super::advice;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::resets;
use crate::event::timestamp::SECOND_NS;
use crate::model::resets::spread::{Similar, Spread};

/// Fewer may be a program's way to drop single clients.
const SOME: u64 = 5;

/// One finding for each side of each namespace.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut netns: Vec<u32> = facts.pairs.iter().map(|row| row.netns).collect();
    netns.sort_unstable();
    netns.dedup();
    let is_some = facts
        .pairs
        .iter()
        .map(|row| row.counts.linger_zero())
        .sum::<u64>()
        >= SOME;
    let explained = match is_some {
        true => resets::lingers_explained(facts),
        false => return findings,
    };
    for netns in netns {
        for side in [Side::Server, Side::Client] {
            let rows = facts.pairs.iter();
            let who = advice::by_command(
                rows.filter(|row| row.netns == netns && row.side == side)
                    .map(|row| {
                        let known = explained.get(&resets::row_key(row)).copied();
                        let count = row.counts.linger_zero();
                        let name = row.name().into_owned();
                        (name, count.saturating_sub(known.unwrap_or(0)))
                    })
                    .filter(|(_, count)| *count > 0),
            );
            let count: u64 = who.iter().map(|(_, count)| count).sum();
            if count >= SOME {
                findings.push(finding(
                    facts,
                    netns,
                    side,
                    count,
                    &who,
                    idle(facts, netns, side),
                ));
            }
        }
    }
    findings
}

/// The time without data after which most of these connections were closed, if it is a timeout.
fn idle(facts: &DoctorFacts, netns: u32, side: Side) -> Option<Similar> {
    let mut all = Spread::default();
    let rows = facts.pairs.iter();
    for row in rows.filter(|row| row.netns == netns && row.side == side) {
        let sent = ResetDirection::Sent;
        if let Some(pattern) = row.counts.patterns.of(sent, ResetReason::LingerZero) {
            all.add_all(&pattern.quiet);
        }
    }
    resets::timeout(&all).filter(|it| it.min_ns >= SECOND_NS)
}

fn finding(
    facts: &DoctorFacts,
    netns: u32,
    side: Side,
    count: u64,
    who: &[(String, u64)],
    idle: Option<Similar>,
) -> Finding {
    let figures = json!({
        "netns": netns, "resets": count, "idle_ns": idle.map(|it| it.max_ns), "resets_by": advice::figures(who),
    });
    let evidence = format!(
        "{count} connections of namespace {} were closed by RST, with SO_LINGER set to 0 s: {}",
        facts.name(netns),
        advice::list(who)
    );
    match side {
        Side::Server => Finding {
            id: "linger_on_server",
            severity: Severity::Warning,
            title: match idle {
                Some(idle) => format!(
                    "a server closes connections that are idle for {} by RST (SO_LINGER 0)",
                    resets::length(idle)
                ),
                None => "a server closes its connections by RST (SO_LINGER 0)".to_owned(),
            },
            evidence: [evidence]
                .into_iter()
                .chain(idle.map(|idle| {
                    format!(
                        "they had been without data for {}: that is an idle timeout, and the next request of a client that keeps \
                         them for longer fails",
                        resets::length(idle)
                    )
                }))
                .chain([
                    "its clients see \"connection reset by peer\", and lose the end of an answer that has not arrived yet"
                        .to_owned(),
                ])
                .collect(),
            figures,
            to_do: idle
                .map(|_| {
                    "let clients close idle connections sooner, or raise that timeout (MariaDB: wait_timeout; nginx: \
                     keepalive_timeout)"
                        .to_owned()
                })
                .into_iter()
                .chain([
                "close without SO_LINGER: a server's TIME_WAITs cost memory only; to have fewer, let clients \
                 close first (nginx: reset_timedout_connection off; haproxy: no option nolinger)"
                    .to_owned(),
            ])
            .collect(),
            settings: Vec::new(),
            do_not: vec![advice::NO_LINGER.to_owned()],
        },
        _ => Finding {
            id: "linger_on_client",
            severity: Severity::Notice,
            title: "a client closes its connections by RST (SO_LINGER 0)".to_owned(),
            evidence: vec![
                evidence,
                "this creates no TIME_WAIT; the servers count resets".to_owned(),
            ],
            figures,
            to_do: vec![
                "nothing, if it is a health checker or a prober that sends nothing of worth; else close \
                 without SO_LINGER, and keep connections alive if there are too many"
                    .to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![
                "SO_LINGER with 0 s where data was sent: what has not been acknowledged is lost".to_owned(),
            ],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn servers_are_warned_and_clients_are_told() {
        let mut facts = samples::healthy();
        facts.pairs = vec![
            samples::pair(Side::Server, "80", 0, 9),
            samples::pair(Side::Client, "10.0.0.2:80", 0, 30),
        ];
        let findings = check(&facts);
        assert_eq!(findings[0].id, "linger_on_server");
        assert_eq!(findings[0].severity, Severity::Warning);
        assert!(findings[0].evidence[0].contains("nginx(7): 9"));
        assert_eq!(findings[1].id, "linger_on_client");
        assert_eq!(findings[1].severity, Severity::Notice);
    }

    #[test]
    fn a_few_are_none_and_time_waits_neither() {
        let mut facts = samples::healthy();
        facts.pairs = vec![
            samples::pair(Side::Server, "80", 0, 4),
            samples::pair(Side::Client, "10.0.0.2:80", 300, 0),
        ];
        assert!(check(&facts).is_empty());
    }
}
