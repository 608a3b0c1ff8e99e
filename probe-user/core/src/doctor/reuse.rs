//! tcp_tw_reuse where it has no effect.

use std::collections::BTreeMap;

use serde_json::json;
use twtrace_wire::{ReuseRefusal, Side};

use super::advice;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::refused;
use super::setting::{SettingChange, SettingName};
use crate::model::budget::sysctls::TwReuse;

/// Minimum number of TIME_WAITs to compare their sides.
const ENOUGH: u64 = 20;
/// Fraction of them that is the server's.
const MOST: f64 = 0.9;
/// Minimum number of TIME_WAITs that could not be reused because a peer does not use timestamps.
const SOME: u64 = 5;

/// It is 1, and TCP timestamps are off: nothing is reused.
pub fn without_timestamps(facts: &DoctorFacts) -> Vec<Finding> {
    let without: Vec<u32> = facts
        .namespaces
        .iter()
        .filter(|(_, it)| it.now.ports.tw_reuse == TwReuse::Always && !it.now.ports.timestamps)
        .map(|(netns, _)| *netns)
        .collect();
    let on = |netns: &u32| facts.setting(*netns, SettingName::Timestamps, 1);
    let settings: Vec<SettingChange> = without.iter().map(on).collect();
    let Some(first) = settings.first() else {
        return Vec::new();
    };
    let rows: Vec<_> = without
        .iter()
        .map(|netns| {
            json!({"netns": netns, "client_time_waits": facts.time_waits(*netns, Side::Client)})
        })
        .collect();
    let time_waits: u64 = without
        .iter()
        .map(|netns| facts.time_waits(*netns, Side::Client))
        .sum();
    let hindered = facts.hindered(|row| {
        without.contains(&row.netns) && row.counts.reuse.refused.of(ReuseRefusal::TimestampsOff) > 0
    });
    let mut evidence = vec![format!(
        "a TIME_WAIT is reused only if its connection had TCP timestamps; clients there created {time_waits} \
         TIME_WAITs during the window, and none of them can be reused"
    )];
    evidence.extend(refused::sentences(&hindered));
    vec![Finding {
        id: "reuse_without_timestamps",
        severity: Severity::Warning,
        title: format!(
            "tcp_tw_reuse is 1 without effect in {}: TCP timestamps are off",
            facts.names(&without)
        ),
        evidence,
        figures: json!({ "namespaces": rows, "refused_by": refused::figures(&hindered) }),
        to_do: vec![format!(
            "switch them on, as they are by default: {}",
            facts.set(first)
        )],
        settings,
        do_not: vec![
            "leaving them off for speed: they cost 12 bytes a segment, and without them round-trip times \
             are measured worse, and old segments of fast connections are mistaken for new ones"
                .to_owned(),
        ],
    }]
}

/// Reuse is allowed here, and connects found TIME_WAITs of peers that do not use timestamps. One finding for each
/// namespace. Their number says nothing about a shortage, which is reported by the check of port pools.
pub fn peer_without_timestamps(facts: &DoctorFacts) -> Vec<Finding> {
    const WHY: ReuseRefusal = ReuseRefusal::PeerWithoutTimestamps;
    let mut of_namespaces = BTreeMap::<u32, Vec<_>>::new();
    for row in facts.hindered(|row| row.counts.reuse.refused.of(WHY) > 0) {
        of_namespaces.entry(row.netns).or_default().push(row);
    }
    of_namespaces.retain(|_, rows| refused::count(rows, WHY) >= SOME);
    let finding = |(netns, rows): (u32, Vec<_>)| {
        Finding {
        id: "reuse_peer_without_timestamps",
        severity: Severity::Notice,
        title: format!(
            "peers of namespace {} have no TCP timestamps: TIME_WAITs towards them are not reused",
            facts.name(netns)
        ),
        evidence: refused::sentences(&rows),
        figures: json!({
            "netns": netns, "refused": refused::count(&rows, WHY), "refused_by": refused::figures(&rows),
        }),
        to_do: vec![
            "switch TCP timestamps on at these peers, or have what stands between (a load balancer, a firewall, \
             a proxy) leave the option in the SYN and in its answer; else keep connections alive and use them \
             again"
                .to_owned(),
        ],
        settings: Vec::new(),
        do_not: vec![
            "sysctls of this host for this: tcp_tw_reuse and tcp_timestamps are as they should be".to_owned(),
        ],
    }
    };
    of_namespaces.into_iter().map(finding).collect()
}

/// It is 1, and nearly all TIME_WAITs are those of servers.
pub fn for_inbound(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (netns, it) in &facts.namespaces {
        let server = facts.time_waits(*netns, Side::Server);
        let client = facts.time_waits(*netns, Side::Client);
        let all = server + client;
        if it.now.ports.tw_reuse != TwReuse::Always
            || all < ENOUGH
            || (server as f64) < all as f64 * MOST
        {
            continue;
        }
        let who = facts.processes(
            |row| row.netns == *netns && row.side == Side::Server,
            |counts| counts.time_wait,
        );
        findings.push(Finding {
            id: "reuse_for_inbound",
            severity: Severity::Notice,
            title: format!("tcp_tw_reuse does nothing for the TIME_WAITs of namespace {}", facts.name(*netns)),
            evidence: vec![format!(
                "{server} of {all} TIME_WAITs were created by servers that close first ({}); tcp_tw_reuse lets \
                 connect() reuse a TIME_WAIT, and a server does not connect",
                advice::list(&who)
            )],
            figures: json!({
                "netns": netns, "server_time_waits": server, "client_time_waits": client,
                "time_waits_by": advice::figures(&who),
            }),
            to_do: vec![
                "nothing, if it was set for clients that run here at other times: it does no harm; else set it \
                 back to 2, the default"
                    .to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![advice::NO_RECYCLE.to_owned()],
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn without_timestamps_nothing_is_reused() {
        let mut facts = samples::healthy();
        facts.report.destinations = vec![samples::destination(Side::Client, 12)];
        facts.state_mut().ports.timestamps = false;
        assert!(without_timestamps(&facts).is_empty());
        facts.state_mut().ports.tw_reuse = TwReuse::Always;
        let findings = without_timestamps(&facts);
        assert_eq!(findings[0].severity, Severity::Warning);
        assert!(findings[0].evidence[0].contains("created 12 TIME_WAITs"));
        assert_eq!(findings[0].evidence.len(), 1);
        facts.pairs = vec![
            samples::refused("10.0.0.2:80", 2, ReuseRefusal::TimestampsOff, 9),
            samples::refused("10.0.0.3:80", 2, ReuseRefusal::TooYoung, 9),
        ];
        let findings = without_timestamps(&facts);
        assert_eq!(
            findings[0].evidence[1..],
            [
                "2 connect() calls of nginx(7) found TIME_WAIT sockets to 10.0.0.2:80 that they could not reuse: timestamps_off 9"
            ]
        );
        assert_eq!(findings[0].figures["refused_by"][0]["count"], 2);
        facts.state_mut().ports.timestamps = true;
        assert!(without_timestamps(&facts).is_empty());
    }

    #[test]
    fn a_peer_without_timestamps_is_told_where_it_was_in_the_way() {
        let with = |why, count| {
            let mut facts = samples::healthy();
            facts.pairs = vec![samples::refused("10.0.0.2:80", 3, why, count)];
            let diagnosed = peer_without_timestamps(&facts);
            facts.report.tiers.clear();
            assert!(peer_without_timestamps(&facts).is_empty());
            diagnosed
        };
        let findings = with(ReuseRefusal::PeerWithoutTimestamps, 6);
        assert_eq!(findings[0].id, "reuse_peer_without_timestamps");
        assert_eq!(findings[0].figures["refused"], 6);
        assert!(findings[0].evidence[0].ends_with("peer_without_timestamps 6"));
        assert!(with(ReuseRefusal::PeerWithoutTimestamps, 4).is_empty());
        assert!(with(ReuseRefusal::TimestampsOff, 60).is_empty());
    }

    #[test]
    fn servers_have_nothing_of_it() {
        let mut facts = samples::healthy();
        facts.report.destinations = vec![
            samples::destination(Side::Server, 950),
            samples::destination(Side::Client, 50),
        ];
        facts.pairs = vec![samples::pair(Side::Server, "80", 950, 0)];
        assert!(for_inbound(&facts).is_empty());
        facts.state_mut().ports.tw_reuse = TwReuse::Always;
        let findings = for_inbound(&facts);
        assert!(findings[0].evidence[0].contains("950 of 1000"));
        assert!(findings[0].evidence[0].contains("nginx(7): 950"));
        facts.report.destinations[1].time_wait = 500;
        assert!(for_inbound(&facts).is_empty());
    }
}
