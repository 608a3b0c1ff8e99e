//! Connections that the peer has closed and a process here has not.

use serde_json::json;

use super::advice;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::event::answerable::Answerable;
use crate::event::quantity::duration;
use crate::model::close_wait::{CloseWaitRow, NoHolder, STAYED};
use crate::model::pairs;

/// From this number of connections that stay on, one process has a leak, or it is stuck.
const MANY: u64 = 20;
/// The same for one connection of this age, nanoseconds.
const OLD_NS: u64 = 60_000_000_000;

/// [`STAYED`], nanoseconds.
const STAYED_NS: u64 = STAYED.as_nanos() as u64;

/// One finding for each process.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut groups: Vec<(String, Vec<&CloseWaitRow>)> = Vec::new();
    for row in &facts.report.close_wait {
        let name = name(row);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups
        .into_iter()
        .filter_map(|(name, rows)| finding(&name, &rows))
        .collect()
}

fn name(row: &CloseWaitRow) -> String {
    match row.answerable() {
        Answerable::Process(process) => pairs::name(process),
        // Each listener has a queue of its own.
        Answerable::Nobody(NoHolder::NotAccepted) => {
            format!("the queue of the listener on {}", row.destination)
        }
        Answerable::Nobody(NoHolder::Unknown) | Answerable::Unknown => pairs::NOBODY.to_owned(),
    }
}

/// Connections that stay; in a history, all of a row that has an old one.
fn stayed(row: &CloseWaitRow) -> u64 {
    let is_old = row.oldest_ns.is_some_and(|age_ns| age_ns >= STAYED_NS);
    row.stayed.unwrap_or(if is_old { row.count } else { 0 })
}

/// The age of the oldest of these.
fn stayed_ns(row: &CloseWaitRow) -> Option<u64> {
    match row.stayed {
        Some(_) => row.stayed_ns,
        None => row.oldest_ns,
    }
}

fn finding(name: &str, rows: &[&CloseWaitRow]) -> Option<Finding> {
    let count: u64 = rows.iter().map(|row| row.count).sum();
    let oldest_ns = rows.iter().filter_map(|row| row.oldest_ns).max();
    let at_most_ns = rows.iter().filter_map(|row| row.oldest_at_most_ns).max();
    // What a slow program will close soon does not stay, and what a peer still waits for is in use.
    let stayed: u64 = rows.iter().map(|row| stayed(row)).sum();
    let stayed_ns = rows.iter().filter_map(|row| stayed_ns(row)).max();
    if stayed < MANY && stayed_ns.is_none_or(|age_ns| age_ns < OLD_NS) {
        return None;
    }
    let half_closed: u64 = rows.iter().map(|row| row.half_closed).sum();
    let is_queue = rows
        .iter()
        .any(|row| row.unattributed == Some(NoHolder::NotAccepted));
    let age = oldest_ns.map_or(String::new(), |age_ns| {
        format!(", the oldest for {} at least", duration(age_ns))
    });
    let places: Vec<(String, u64)> = rows
        .iter()
        .map(|row| (row.destination.to_string(), row.count))
        .collect();
    let shared: u64 = rows.iter().map(|row| row.shared).sum();
    let mut evidence = vec![format!(
        "{count} connections that their peers have closed are still open here{age}: {}",
        advice::list(&places)
    )];
    if stayed < count {
        evidence.push(format!(
            "{stayed} of them have been so for {} or more",
            duration(STAYED_NS)
        ));
    }
    if half_closed > 0 {
        evidence.push(format!(
            "{half_closed} have a peer on this host that has closed its half only and still waits: these do not count"
        ));
    }
    if shared > 0 {
        evidence.push(format!(
            "{shared} of them are held by other processes too, such as children that inherited them"
        ));
    }
    let first = if is_queue {
        "find out why the process that listens does not call accept(): it is stuck, or too slow"
            .to_owned()
    } else {
        "have the program close a connection when read() returns 0, on every path, errors too; until then \
             a restart gives the descriptors back"
                .to_owned()
    };
    let show = match rows.first().and_then(|row| row.process.as_ref()) {
        Some(process) => format!(
            "list them: nsenter -t {pid} -n ss -tnp state close-wait",
            pid = process.key.tgid
        ),
        None => "list them: ss -tnp state close-wait".to_owned(),
    };
    Some(Finding {
        id: "close_wait_leak",
        severity: Severity::Warning,
        title: if is_queue {
            format!("{name} holds connections that nobody accepts")
        } else {
            format!("{name} does not close what its peers have closed (CLOSE_WAIT)")
        },
        evidence,
        figures: json!({
            "process": rows.first().and_then(|row| row.process.as_ref()).map(pairs::name),
            "count": count, "stayed": stayed, "half_closed": half_closed, "shared": shared, "oldest_ns": oldest_ns, "oldest_at_most_ns": at_most_ns,
            "destinations": places.iter().map(|(place, count)| json!({"destination": place, "count": count}))
                .collect::<Vec<_>>(),
        }),
        to_do: vec![first, show],
        settings: Vec::new(),
        do_not: vec![
            "settings of TIME_WAIT, FIN timeout or keepalive: CLOSE_WAIT has no time limit, and only the process \
             that holds the connection can end it"
                .to_owned(),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::event::samples::process;
    use crate::model::destination::Destination;
    use twtrace_wire::Side;

    fn row(count: u64, oldest_s: u64) -> CloseWaitRow {
        CloseWaitRow {
            process: Some(process(9, "leaky")),
            unattributed: None,
            netns: samples::NETNS,
            side: Side::Server,
            remote: None,
            local: Some(":80".into()),
            count,
            shared: 0,
            oldest_ns: Some(oldest_s * 1_000_000_000),
            oldest_at_most_ns: Some(oldest_s * 1_000_000_000),
            stayed: None,
            half_closed: 0,
            stayed_ns: None,
            destination: Destination::LocalPort(80),
        }
    }

    fn found(rows: Vec<CloseWaitRow>) -> Vec<Finding> {
        let mut facts = samples::healthy();
        facts.report.close_wait = rows;
        check(&facts)
    }

    #[test]
    fn many_or_old_ones_are_a_leak_of_their_process() {
        let findings = found(vec![row(12, 6), row(8, 5)]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Warning);
        assert!(findings[0].title.starts_with("leaky(9) does not close"));
        assert!(findings[0].evidence[0].starts_with("20 connections"));
        assert!(findings[0].evidence[0].contains("for 6.00s at least"));
        assert_eq!(found(vec![row(1, 61)]).len(), 1);
        assert!(found(vec![row(19, 59)]).is_empty());
    }

    #[test]
    fn what_is_closed_soon_or_in_use_is_no_leak() {
        // A slow server whose clients give up: each is closed within seconds.
        assert!(found(vec![row(200, 3)]).is_empty());
        let stays = |stayed, half_closed| CloseWaitRow {
            stayed: Some(stayed),
            half_closed,
            stayed_ns: (stayed > 0).then_some(OLD_NS - 1),
            ..row(200, 70)
        };
        assert!(found(vec![stays(19, 0)]).is_empty());
        assert!(found(vec![stays(0, 200)]).is_empty());
        let findings = found(vec![stays(20, 3)]);
        assert!(findings[0].evidence[1].starts_with("20 of them"));
        assert!(findings[0].evidence[2].starts_with("3 have a peer"));
    }

    #[test]
    fn a_queue_is_told_from_a_leak() {
        let findings = found(vec![CloseWaitRow {
            process: None,
            unattributed: Some(NoHolder::NotAccepted),
            ..row(40, 6)
        }]);
        assert_eq!(
            findings[0].title,
            "the queue of the listener on :80 holds connections that nobody accepts"
        );
        assert!(findings[0].to_do[0].contains("accept()"));
    }
}
