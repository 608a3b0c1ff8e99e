//! Established connections whose peer no longer acknowledges what is sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::json;

use super::advice;
use super::bounded;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::model::pairs::name;
use crate::model::unacknowledged::UnacknowledgedRow;

/// From this number on connections to one destination are no single mishap. Those of clients that have gone away have a
/// destination each.
const SOME: u64 = 5;
/// Connections that no descriptor refers to.
const CLOSED: &str = "(closed by its process)";

/// One finding for each destination, those with the most connections first.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut all: BTreeMap<(u32, SocketAddr), Vec<&UnacknowledgedRow>> = BTreeMap::new();
    let rows = facts.unacknowledged.iter();
    for row in rows.filter(|row| !row.is_connecting) {
        all.entry((row.netns, row.remote)).or_default().push(row);
    }
    let count = |rows: &[&UnacknowledgedRow]| rows.iter().map(|row| row.count).sum::<u64>();
    let mut all: Vec<_> = all
        .into_iter()
        .filter(|(_, rows)| count(rows) >= SOME)
        .collect();
    all.sort_by_key(|(_, rows)| std::cmp::Reverse(count(rows)));
    bounded::findings(
        all.into_iter(),
        |((netns, _), _)| *netns,
        |((netns, remote), rows)| finding(facts, netns, remote, &rows),
        "destinations of this namespace do not acknowledge: see ss -tnoi",
    )
}

fn finding(
    facts: &DoctorFacts,
    netns: u32,
    remote: SocketAddr,
    rows: &[&UnacknowledgedRow],
) -> Finding {
    let count: u64 = rows.iter().map(|row| row.count).sum();
    let retransmits = rows.iter().map(|row| row.retransmits).max().unwrap_or(0);
    let who = rows.iter().map(|row| {
        let process = row.process.as_ref();
        (process.map_or(CLOSED.to_owned(), name), row.count)
    });
    let who = advice::by_command(who);
    let closed: u64 = rows
        .iter()
        .filter(|row| row.process.is_none())
        .map(|row| row.count)
        .sum();
    let mut evidence = vec![
        format!(
            "{count} established connections to {remote} in namespace {} had sent again, at the end, what the peer does not \
             acknowledge, {retransmits} times at most: {}",
            facts.name(netns),
            advice::list(&who)
        ),
        "they were established: the peer, or the path to it, has been lost since. Firewalls, NAT and load balancers forget idle \
         connections, and some then drop what comes"
            .to_owned(),
    ];
    if closed > 0 {
        evidence.push(format!(
            "{closed} of them have been closed by their program, as after a timeout: no RST and no TIME_WAIT shows that"
        ));
    }
    let show = format!("ss -tnoi dst {}", remote.ip().to_canonical());
    Finding {
        id: "peer_silent",
        severity: Severity::Warning,
        title: format!("{remote} no longer acknowledges what {count} connections send to it"),
        evidence,
        figures: json!({
            "netns": netns, "remote": remote, "connections": count, "closed": closed, "retransmits": retransmits,
            "clients_by": advice::figures(&who),
        }),
        to_do: vec![
            format!("see them: {}", facts.command(netns, &show)),
            "if they had been idle: send TCP keepalives more often than the firewall forgets (SO_KEEPALIVE with \
             net.ipv4.tcp_keepalive_time), or let the pool close idle connections sooner"
                .to_owned(),
            "to notice sooner: TCP_USER_TIMEOUT in the program, or net.ipv4.tcp_retries2".to_owned(),
            "see whether the host is up, and look for rules that drop packets on the way".to_owned(),
        ],
        settings: Vec::new(),
        do_not: vec![
            "settings of local ports or TIME_WAIT: these connections are open, and the peer is silent".to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::samples;
    use crate::event::samples::process;

    fn found(rows: &[(&str, bool, u64)]) -> Vec<Finding> {
        let mut facts = samples::healthy();
        let rows = rows
            .iter()
            .map(|(remote, is_open, count)| UnacknowledgedRow {
                netns: samples::NETNS,
                remote: remote.parse().unwrap(),
                is_connecting: false,
                process: is_open.then(|| process(7, "app")),
                count: *count,
                retransmits: 5,
            });
        facts.unacknowledged = rows.collect();
        check(&facts)
    }

    #[test]
    fn a_path_that_is_lost_is_named() {
        let found = found(&[("10.0.0.2:6379", true, 4), ("10.0.0.2:6379", false, 16)]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].title,
            "10.0.0.2:6379 no longer acknowledges what 20 connections send to it"
        );
        assert!(found[0].evidence[2].starts_with("16 of them"), "{found:?}");
    }

    #[test]
    fn clients_that_went_away_are_none() {
        let gone: Vec<String> = (0..40)
            .map(|port| format!("10.9.0.1:{}", 40_000 + port))
            .collect();
        let rows: Vec<_> = gone.iter().map(|remote| (&**remote, true, 1)).collect();
        assert!(found(&rows).is_empty());
    }
}
