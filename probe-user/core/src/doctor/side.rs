//! The side that closes first, at a high rate.

use std::net::SocketAddr;

use serde_json::json;
use twtrace_wire::Side;

use super::advice;
use super::churn::Churn;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::event::quantity;
use crate::event::timestamp::SECOND_NS;
use crate::model::budget::sysctls::TIME_WAIT_NS;
use crate::model::destination::Destination;
use crate::model::pairs::PairRow;

/// TIME_WAITs per second, of one process and destination, from which the rate is high.
const HIGH_PER_S: f64 = 10.0;
/// Minimum number, so that a few within a short time do not count.
const MANY: u64 = 50;
/// Fraction of the range that the rate may come to hold before it is a warning.
const HALF: f64 = 0.5;
/// Maximum number of findings of each of the two checks.
const SHOWN: usize = 5;

/// A client that opens and closes connections to the same destination all the time.
pub fn client_closes_first(facts: &DoctorFacts) -> Vec<Finding> {
    let rows = at_high_rate(facts, Side::Client);
    rows.filter_map(|row| {
        let Destination::Remote(remote) = row.destination else {
            return None;
        };
        // The finding about the pool has the cause and the remedy.
        if facts.is_of_scarce_bind(row) {
            return None;
        }
        let per_s = per_s(facts, row);
        let state = facts.state(row.netns);
        let length_ns = state.map_or(TIME_WAIT_NS, |state| state.ports.time_wait_ns());
        let length_s = length_ns / SECOND_NS;
        let held = per_s * length_ns as f64 / 1e9;
        // Between loopback addresses both ends are the same, elsewhere the source makes no difference.
        let is_reused = state.is_some_and(|state| state.ports.reuses(remote.ip(), remote));
        let range = state.map(|state| state.ports.range.count());
        let is_much = range.is_some_and(|count| held >= count as f64 * HALF) && !is_reused;
        let name = row.name();
        let churn = Churn::of(facts, row, remote, per_s);
        let mut evidence = vec![format!(
            "{name} in namespace {} connected to {remote} and closed first {} times, {}",
            facts.name(row.netns),
            row.counts.time_wait,
            advice::rate(per_s)
        )];
        evidence.extend(churn.in_words());
        evidence.push(match (range, is_reused) {
            (Some(count), true) if has_failed(facts, row.netns, remote) => format!(
                "TIME_WAITs towards it are reused after a second: up to {count} new connections a second find a port, \
                 a larger burst does not"
            ),
            (_, true) => "TIME_WAITs towards it are reused after a second, so ports do not run out".to_owned(),
            (Some(count), false) => format!(
                "each holds a port for {length_s} s: this rate holds {held:.0} of {count} in the long run"
            ),
            (None, false) => format!("each holds a port for {length_s} s: this rate holds {held:.0} in the long run"),
        });
        Some(Finding {
            id: "client_closes_first",
            severity: if is_much { Severity::Warning } else { Severity::Notice },
            title: format!("{name} opens and closes connections to {remote} all the time"),
            evidence,
            figures: json!({
                "netns": row.netns, "process": name, "remote": remote.to_string(),
                "time_waits": row.counts.time_wait, "per_s": thousandths(per_s), "ports_held": held.round(),
                "open": churn.open, "mean_ns": churn.lives.mean_ns(), "closed_at_once": churn.lives.closed_at_once,
                "were_idle": churn.lives.were_idle,
            }),
            to_do: churn.to_do(),
            settings: Vec::new(),
            do_not: [advice::NO_LINGER, advice::NO_FIN_TIMEOUT, advice::NO_RECYCLE]
                .map(str::to_owned)
                .to_vec(),
        })
    })
    .take(SHOWN)
    .collect()
}

/// A server that closes first: this only costs memory.
pub fn server_closes_first(facts: &DoctorFacts) -> Vec<Finding> {
    let rows = at_high_rate(facts, Side::Server);
    rows.map(|row| {
        let (name, place) = (row.name(), row.destination);
        let memory = facts.report.memory.time_wait_bytes.map_or_else(
            || "memory is all they cost here".to_owned(),
            |bytes| {
                format!(
                    "memory is all they cost here: {} for all TIME_WAITs of the host now",
                    quantity::bytes(bytes)
                )
            },
        );
        Finding {
            id: "server_closes_first",
            severity: Severity::Notice,
            title: format!("{name} closes the connections of its clients first on {place}"),
            evidence: vec![
                format!(
                    "{name} in namespace {} closed first {} times, {}",
                    facts.name(row.netns),
                    row.counts.time_wait,
                    advice::rate(per_s(facts, row))
                ),
                format!(
                    "{memory}; a TIME_WAIT of a server holds no local port, and a client that comes back from \
                     the same port may reopen it"
                ),
            ],
            figures: json!({
                "netns": row.netns, "process": name, "local": place.local(),
                "time_waits": row.counts.time_wait, "per_s": thousandths(per_s(facts, row)),
                "memory_bytes": facts.report.memory.time_wait_bytes,
            }),
            to_do: vec![
                "nothing, as long as memory and net.ipv4.tcp_max_tw_buckets suffice; to have fewer, keep \
                 connections alive for longer (nginx: keepalive_timeout, keepalive_requests), or let clients \
                 close first"
                    .to_owned(),
            ],
            settings: Vec::new(),
            do_not: vec![
                "net.ipv4.tcp_tw_reuse: it is for connect(), and does nothing for a server's TIME_WAITs"
                    .to_owned(),
                advice::NO_RECYCLE.to_owned(),
                advice::NO_FIN_TIMEOUT.to_owned(),
                "SO_LINGER with 0 s: clients would see \"connection reset by peer\"".to_owned(),
            ],
        }
    })
    .take(SHOWN)
    .collect()
}

/// Whether allocations towards a destination failed.
fn has_failed(facts: &DoctorFacts, netns: u32, remote: SocketAddr) -> bool {
    facts
        .report
        .budgets
        .iter()
        .any(|pool| pool.netns == netns && pool.destination == Some(remote) && pool.failures > 0)
}

fn at_high_rate(facts: &DoctorFacts, side: Side) -> impl Iterator<Item = &PairRow> {
    facts.pairs.iter().filter(move |row| {
        row.side == side
            && row.destination != Destination::Others
            && row.counts.time_wait >= MANY
            && per_s(facts, row) >= HIGH_PER_S
    })
}

fn per_s(facts: &DoctorFacts, row: &PairRow) -> f64 {
    row.counts.time_wait as f64 / facts.seconds()
}

fn thousandths(rate: f64) -> f64 {
    (rate * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::model::budget::sysctls::TwTimeout;

    fn with(side: Side, destination: &str, time_waits: u64) -> DoctorFacts {
        let mut facts = samples::healthy();
        facts.pairs = vec![samples::pair(side, destination, time_waits, 0)];
        facts
    }

    #[test]
    fn a_client_at_a_high_rate_is_told_and_warned_where_ports_are_few() {
        let facts = with(Side::Client, "10.0.0.2:80", 1_000);
        let findings = client_closes_first(&facts);
        assert_eq!(findings[0].severity, Severity::Notice);
        assert!(findings[0].evidence[0].ends_with("1000 times, 100 a second"));
        assert_eq!(
            findings[0].title,
            "nginx(7) opens and closes connections to 10.0.0.2:80 all the time"
        );
        let last = |found: &Finding| found.evidence.last().cloned().unwrap();
        assert!(last(&findings[0]).contains("holds 6000 of 28232"));
        assert!(last(&findings[0]).starts_with("each holds a port for 60 s"));
        let mut facts = with(Side::Client, "10.0.0.2:80", 3_000);
        facts.state_mut().ports.tw_timeout = TwTimeout::from_seconds(5);
        let short = &client_closes_first(&facts)[0];
        assert_eq!(short.severity, Severity::Notice);
        assert!(last(short).contains("for 5 s: this rate holds 1500 of 28232"));
        let facts = with(Side::Client, "10.0.0.2:80", 3_000);
        assert_eq!(client_closes_first(&facts)[0].severity, Severity::Warning);
        // Reused: the default between loopback addresses.
        let mut facts = with(Side::Client, "127.0.0.1:80", 3_000);
        assert_eq!(client_closes_first(&facts)[0].severity, Severity::Notice);
        let says = |facts: &DoctorFacts| last(&client_closes_first(facts)[0]);
        assert!(says(&facts).ends_with("so ports do not run out"));
        facts.report.budgets.push(samples::budget(9, 3));
        facts.report.budgets[1].destination = Some("127.0.0.1:80".parse().unwrap());
        assert!(says(&facts).contains("up to 28232 new connections a second"));
        assert!(client_closes_first(&with(Side::Client, "10.0.0.2:80", 90)).is_empty());
        assert!(client_closes_first(&with(Side::Server, "80", 1_000)).is_empty());
    }

    #[test]
    fn a_server_is_told_that_tw_reuse_is_not_for_it() {
        let findings = server_closes_first(&with(Side::Server, "80", 1_000));
        assert_eq!(findings[0].severity, Severity::Notice);
        assert!(findings[0].title.ends_with("first on :80"));
        assert!(findings[0].do_not[0].contains("tcp_tw_reuse"));
        assert!(server_closes_first(&with(Side::Server, "80", 40)).is_empty());
        assert!(server_closes_first(&with(Side::Client, "10.0.0.2:80", 1_000)).is_empty());
    }
}
