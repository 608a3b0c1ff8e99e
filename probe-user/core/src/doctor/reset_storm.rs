//! Many resets for the same reason that no other check explains.

use serde_json::json;
use twtrace_wire::{ResetDirection, ResetReason};

use super::advice;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::resets::{self, Explained};
use crate::event::words::Word;
use crate::model::report::ProcessRow;

/// Resets per second from which they are a storm.
const STORM_PER_S: f64 = 10.0;
/// Minimum number of resets.
const MANY: u64 = 100;

/// One finding for each direction and reason, about RSTs that [`resets`] does not explain.
pub fn check(facts: &DoctorFacts, explained: &Explained) -> Vec<Finding> {
    let mut findings = Vec::new();
    let unexplained = |row: &ProcessRow, direction, reason| {
        let counts = match direction {
            ResetDirection::Sent => &row.counts.reset_sent,
            ResetDirection::Received => &row.counts.reset_received,
        };
        let known = explained.of(direction, reason, &resets::name(row.answerable()));
        counts.of(reason).saturating_sub(known)
    };
    for reason in ResetReason::MEMBERS.iter().copied() {
        // SO_LINGER has a check of its own.
        if reason != ResetReason::LingerZero {
            let sent = |row: &ProcessRow| unexplained(row, ResetDirection::Sent, reason);
            findings.extend(finding(facts, reason, "sent", sent));
        }
        let received = |row: &ProcessRow| unexplained(row, ResetDirection::Received, reason);
        findings.extend(finding(facts, reason, "received", received));
    }
    findings
}

/// Whether so many RSTs are a storm.
pub fn is_storm(facts: &DoctorFacts, count: u64) -> bool {
    count >= MANY && count as f64 / facts.seconds() >= STORM_PER_S
}

fn finding(
    facts: &DoctorFacts,
    reason: ResetReason,
    direction: &str,
    number: impl Fn(&ProcessRow) -> u64,
) -> Option<Finding> {
    let rows = facts.report.processes.iter();
    let who = advice::by_command(
        rows.map(|row| (resets::name(row.answerable()), number(row)))
            .filter(|(_, count)| *count > 0),
    );
    let count: u64 = who.iter().map(|(_, count)| count).sum();
    let per_s = count as f64 / facts.seconds();
    if !is_storm(facts, count) {
        return None;
    }
    let (meaning, remedy) = meaning(reason);
    Some(Finding {
        id: "reset_storm",
        severity: Severity::Warning,
        title: format!(
            "RSTs {direction} at {}: {} ({meaning})",
            advice::rate(per_s),
            reason.word()
        ),
        evidence: vec![format!(
            "{count} RSTs were {direction} for the reason {}: {}",
            reason.word(),
            advice::list(&who)
        )],
        figures: json!({
            "direction": direction, "reason": reason.word(), "resets": count,
            "per_s": (per_s * 1e3).round() / 1e3, "resets_by": advice::figures(&who),
        }),
        to_do: vec![
            remedy.to_owned(),
            "see them one by one, with ages and bytes: twtrace trace --event reset".to_owned(),
        ],
        settings: Vec::new(),
        do_not: vec![
            "dropping RSTs in the firewall: the cause stays, and connections hang until they time out".to_owned(),
        ],
    })
}

/// What a reason means, and the remedy.
fn meaning(reason: ResetReason) -> (&'static str, &'static str) {
    match reason {
        ResetReason::LingerZero => (
            "closed with SO_LINGER 0",
            "close without SO_LINGER where data is sent",
        ),
        ResetReason::UnreadData => (
            "closed with data unread",
            "have the program read to the end before it closes",
        ),
        ResetReason::DataAfterClose => (
            "the peer sent to a connection that was closed here",
            "have the two ends agree on who closes, and read to the end before closing",
        ),
        ResetReason::Refused => (
            "nobody listens there",
            "start the service, or take its address out of the clients' configuration",
        ),
        ResetReason::NoSocket => (
            "for no connection of this host",
            "check for a scan, a load balancer that checks a closed port, or a service that is down",
        ),
        ResetReason::TimeWait => (
            "segments for a connection in TIME_WAIT",
            "check for peers that use the same port again at once",
        ),
        ResetReason::Timeout => (
            "the peer did not answer",
            "check the path to the peer, and the keepalive timeouts",
        ),
        ResetReason::Peer => (
            "the peer gave the connection up",
            "check the peer: its program aborted, or something in between resets idle connections",
        ),
        ResetReason::Aborted => (
            "aborted by this host",
            "check who destroys sockets or exits with connections open",
        ),
        ResetReason::Other => (
            "for another reason",
            "see the kernel's own word for it in each event",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn with(reason: ResetReason, count: u64) -> Vec<Finding> {
        let mut facts = samples::healthy();
        let mut row = samples::process("prober");
        for _ in 0..count {
            row.counts.reset_sent.add(reason);
        }
        facts.report.processes = vec![row];
        check(&facts, &Explained::default())
    }

    #[test]
    fn a_storm_is_told_with_its_reason() {
        let findings = with(ResetReason::UnreadData, 400);
        assert_eq!(
            findings[0].title,
            "RSTs sent at 40 a second: unread_data (closed with data unread)"
        );
        assert!(findings[0].evidence[0].ends_with("prober(7): 400"));
        assert!(with(ResetReason::UnreadData, 90).is_empty());
        // Another check reports these.
        assert!(with(ResetReason::LingerZero, 400).is_empty());
    }
}
