//! connect() that nobody answers, or that an ICMP message ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::json;
use twtrace_wire::Side;

use super::advice;
use super::bounded;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::resets;
use crate::model::destination::Destination;
use crate::model::pairs::{NOBODY, PairRow, name};
use crate::model::unacknowledged::UnacknowledgedRow;

/// From this number on connects are no single mishap.
const SOME: u64 = 5;
/// A SYN that was sent again so often has been lost for good: a few lost packets do not do that.
const FOR_GOOD: u8 = 3;

/// Connects to one destination.
#[derive(Default)]
struct Unanswered<'a> {
    rows: Vec<&'a PairRow>,
    waiting: Vec<&'a UnacknowledgedRow>,
}

/// One finding for each destination, those with the most connects first.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut all: BTreeMap<(u32, SocketAddr), Unanswered<'_>> = BTreeMap::new();
    for row in facts.pairs.iter().filter(|row| row.side == Side::Client) {
        if let Destination::Remote(remote) = row.destination {
            let one = all.entry((row.netns, remote)).or_default();
            one.rows.push(row);
        }
    }
    for row in facts.unacknowledged.iter().filter(|row| row.is_connecting) {
        let one = all.entry((row.netns, row.remote)).or_default();
        one.waiting.push(row);
    }
    // A full accept queue on this host does not answer either, and has a finding of its own.
    all.retain(|(netns, remote), _| !has_full_queue(facts, *netns, *remote));
    let findings = all
        .into_iter()
        .filter_map(|((netns, remote), one)| finding(facts, netns, remote, &one));
    let mut findings: Vec<Finding> = findings.collect();
    findings.sort_by_key(|finding| {
        let count = finding.figures["unanswered"].as_u64();
        std::cmp::Reverse((finding.severity, count))
    });
    bounded::findings(
        findings.into_iter(),
        |finding| finding.figures["netns"].as_u64(),
        |finding| finding,
        "destinations of this namespace do not answer: see twtrace trace --event abort",
    )
}

/// Whether the listener of a destination is on this host and dropped connections.
fn has_full_queue(facts: &DoctorFacts, netns: u32, remote: SocketAddr) -> bool {
    let mut overflown = facts.overflown.iter().map(|listener| &listener.now);
    overflown.any(|listener| {
        let (local, to) = (
            listener.local.ip().to_canonical(),
            remote.ip().to_canonical(),
        );
        listener.local.port() == remote.port()
            && (listener.netns == netns || local == to && !to.is_loopback())
    })
}

impl Unanswered<'_> {
    fn sum(&self, number: impl Fn(&PairRow) -> u64) -> u64 {
        self.rows.iter().map(|row| number(row)).sum()
    }

    fn waiting(&self) -> u64 {
        self.waiting.iter().map(|row| row.count).sum()
    }

    fn retransmits(&self) -> u8 {
        let rows = self.waiting.iter();
        rows.map(|row| row.retransmits).max().unwrap_or(0)
    }

    /// The processes with the number of their connects.
    fn who(&self) -> Vec<(String, u64)> {
        let ended = self.rows.iter();
        let ended = ended.map(|row| (row.name().into_owned(), row.counts.unconnected.count()));
        let waiting = self.waiting.iter().map(|row| {
            let process = row.process.as_ref();
            (process.map_or(NOBODY.to_owned(), name), row.count)
        });
        advice::by_command(ended.chain(waiting).filter(|(_, count)| *count > 0))
    }
}

fn finding(
    facts: &DoctorFacts,
    netns: u32,
    remote: SocketAddr,
    of: &Unanswered<'_>,
) -> Option<Finding> {
    let given_up = of.sum(|row| row.counts.unconnected.given_up);
    let timed_out = of.sum(|row| row.counts.unconnected.timed_out);
    let unreachable = of.sum(|row| row.counts.unconnected.unreachable);
    let (waiting, retransmits) = (of.waiting(), of.retransmits());
    let failed = given_up + timed_out + unreachable + waiting;
    // Those that ended in any other way had been answered.
    let answered = of.sum(|row| row.counts.time_wait + row.counts.resets());
    let severity = match failed {
        0 => return None,
        SOME.. if answered < failed => Severity::Critical,
        SOME.. => Severity::Warning,
        _ if timed_out + unreachable > 0 || retransmits >= FOR_GOOD => Severity::Notice,
        _ => return None,
    };
    let who = of.who();
    let first = resets::title(&who);
    let mut evidence = vec![format!(
        "{failed} connects to {remote} from namespace {} failed or wait: {}",
        facts.name(netns),
        advice::list(&who)
    )];
    let ended = [
        (
            given_up,
            "closed by their program, after the SYN had been sent again",
        ),
        (
            timed_out,
            "ended by the kernel with ETIMEDOUT (net.ipv4.tcp_syn_retries)",
        ),
        (
            unreachable,
            "ended by an ICMP message that the destination can't be reached (EHOSTUNREACH, ENETUNREACH, ECONNREFUSED)",
        ),
    ];
    evidence.extend(
        ended
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} were {what}")),
    );
    if waiting > 0 {
        evidence.push(format!(
            "{waiting} were waiting at the end, the longest for {retransmits} s or longer: their SYN was sent again {retransmits} times"
        ));
    }
    evidence.push(match answered {
        0 => "no connection to it was seen to end otherwise".to_owned(),
        _ => format!(
            "{answered} other connections to it were answered: some packets are lost, one of several servers behind that \
             address is down, or NAT on the way has no port left"
        ),
    });
    let by_icmp = unreachable > given_up + timed_out;
    if !by_icmp {
        evidence.push(
            "neither SYN-ACK nor RST came: a host that is up, and that no firewall keeps from answering, answers one of both. A \
             full accept queue there does not answer either"
                .to_owned(),
        );
    }
    Some(Finding {
        id: "connect_unanswered",
        severity,
        title: match by_icmp {
            true => format!(
                "{remote} can't be reached, an ICMP message says: {failed} connects of {first} failed or wait"
            ),
            false => {
                format!("{remote} does not answer: {failed} connects of {first} failed or wait")
            }
        },
        evidence,
        figures: json!({
            "netns": netns, "remote": remote, "unanswered": failed, "given_up": given_up, "timed_out": timed_out,
            "unreachable": unreachable, "waiting": waiting, "answered": answered, "clients_by": advice::figures(&who),
        }),
        to_do: to_do(facts, netns, remote, by_icmp),
        settings: Vec::new(),
        do_not: vec![
            "settings of local ports or TIME_WAIT: these connects got a port, and sent a SYN"
                .to_owned(),
        ],
    })
}

fn to_do(facts: &DoctorFacts, netns: u32, remote: SocketAddr, by_icmp: bool) -> Vec<String> {
    let rules = facts.command(netns, "nft list ruleset");
    if by_icmp {
        return vec![format!(
            "look for a rule that rejects, here ({rules}) and on the way, and at the route: {}",
            facts.command(
                netns,
                &format!("ip route get {}", remote.ip().to_canonical())
            )
        )];
    }
    vec![
            "see whether the host is up, and the service accepts in time there (ss -ltn: Recv-Q above Send-Q is a full accept queue)"
                .to_owned(),
        format!(
            "look for a firewall rule or a security group that drops packets, here ({rules}), on the way, and there"
        ),
        format!(
            "see who waits now: {}",
            facts.command(netns, &format!("ss -tnpo state syn-sent dst {}", remote.ip().to_canonical()))
        ),
    ]
}

#[cfg(test)]
#[path = "unconnected_tests.rs"]
mod tests;
