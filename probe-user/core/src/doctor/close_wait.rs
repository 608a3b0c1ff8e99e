//! Connections that the peer has closed and a process here has not.

use serde_json::json;

use super::advice;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::event::answerable::Answerable;
use crate::event::quantity::duration;
use crate::model::close_wait::{CloseWaitRow, NoHolder};
use crate::model::pairs;

/// From this number on, one process has a leak, or it is stuck.
const MANY: u64 = 20;
/// The same for one connection of this age, nanoseconds.
const OLD_NS: u64 = 60_000_000_000;

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

fn finding(name: &str, rows: &[&CloseWaitRow]) -> Option<Finding> {
    let count: u64 = rows.iter().map(|row| row.count).sum();
    let oldest_ns = rows.iter().filter_map(|row| row.oldest_ns).max();
    let at_most_ns = rows.iter().filter_map(|row| row.oldest_at_most_ns).max();
    if count < MANY && oldest_ns.is_none_or(|age_ns| age_ns < OLD_NS) {
        return None;
    }
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
            "count": count, "shared": shared, "oldest_ns": oldest_ns, "oldest_at_most_ns": at_most_ns,
            "destinations": places.iter().map(|(place, count)| json!({"destination": place, "count": count}))
                .collect::<Vec<_>>(),
        }),
        to_do: vec![first, show],
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
        let findings = found(vec![row(12, 3), row(8, 5)]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Warning);
        assert!(findings[0].title.starts_with("leaky(9) does not close"));
        assert!(findings[0].evidence[0].starts_with("20 connections"));
        assert!(findings[0].evidence[0].contains("for 5.00s at least"));
        assert_eq!(found(vec![row(1, 61)]).len(), 1);
        assert!(found(vec![row(19, 59)]).is_empty());
    }

    #[test]
    fn a_queue_is_told_from_a_leak() {
        let findings = found(vec![CloseWaitRow {
            process: None,
            unattributed: Some(NoHolder::NotAccepted),
            ..row(40, 1)
        }]);
        assert_eq!(
            findings[0].title,
            "the queue of the listener on :80 holds connections that nobody accepts"
        );
        assert!(findings[0].to_do[0].contains("accept()"));
    }
}
