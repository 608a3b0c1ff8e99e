//! Narrow ephemeral port ranges, and ranges that are mostly reserved.

use serde_json::json;

use super::advice;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::model::budget::ports::PortRange;

/// Below this number of ports a range is narrow; the default has 28,232.
const NARROW: u64 = 16_384;
/// Fraction of a range that is reserved, from which it is reported.
const RESERVED: f64 = 0.1;
/// Ports from 1024 on need no privilege.
const WIDE: PortRange = PortRange {
    low: 1_024,
    high: 65_535,
};

/// Whether the range can be made much wider.
pub fn may_grow(range: PortRange) -> bool {
    range.count() < WIDE.count() / 10 * 9
}

/// A command that makes it wider.
pub fn widen(facts: &DoctorFacts, netns: u32) -> String {
    let command = format!(
        "sysctl -w net.ipv4.ip_local_port_range=\"{} {}\"",
        WIDE.low, WIDE.high
    );
    format!(
        "widen the range, with ports that servers listen on put into net.ipv4.ip_local_reserved_ports first: {}",
        facts.command(netns, &command)
    )
}

/// Namespaces with the same problem share a finding.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut narrow = Vec::new();
    let mut reserved = Vec::new();
    for (netns, namespace) in &facts.namespaces {
        let ports = &namespace.now.ports;
        let (range, count) = (ports.range, ports.range.count());
        let taken = ports.reserved.iter().filter(|port| range.contains(*port));
        let taken = taken.count() as u64;
        if count < NARROW {
            narrow.push((*netns, range, taken));
        }
        if taken as f64 > count as f64 * RESERVED {
            reserved.push((*netns, range, taken));
        }
    }
    let sentences = |rows: &[(u32, PortRange, u64)]| -> Vec<String> {
        let words = |(netns, range, taken): &(u32, PortRange, u64)| {
            format!(
                "namespace {}: {range} has {} ports, {taken} of them reserved",
                facts.name(*netns),
                range.count()
            )
        };
        rows.iter().take(advice::NAMED).map(words).collect()
    };
    let figures = |rows: &[(u32, PortRange, u64)]| {
        let rows: Vec<_> = rows
            .iter()
            .map(|(netns, range, taken)| json!({"netns": netns, "range": range, "reserved": taken}))
            .collect();
        json!({ "namespaces": rows })
    };
    if let Some((netns, ..)) = narrow.first() {
        findings.push(Finding {
            id: "port_range_narrow",
            severity: Severity::Notice,
            title: format!("few local ports in {}", named(facts, &narrow)),
            evidence: sentences(&narrow),
            figures: figures(&narrow),
            to_do: vec![widen(facts, *netns)],
            settings: Vec::new(),
            do_not: vec![
                "letting the range begin below 1024, or leaving out the reserved ports: a connection may \
                 then hold the port that a server wants when it starts again"
                    .to_owned(),
            ],
        });
    }
    if !reserved.is_empty() {
        findings.push(Finding {
            id: "port_range_reserved",
            severity: Severity::Notice,
            title: format!(
                "much of the range of local ports is reserved in {}",
                named(facts, &reserved)
            ),
            evidence: sentences(&reserved),
            figures: figures(&reserved),
            to_do: vec![
                "reserve only what servers listen on (net.ipv4.ip_local_reserved_ports), or move the range \
                 (net.ipv4.ip_local_port_range) away from it"
                    .to_owned(),
            ],
            settings: Vec::new(),
            do_not: Vec::new(),
        });
    }
    findings
}

fn named(facts: &DoctorFacts, rows: &[(u32, PortRange, u64)]) -> String {
    let numbers: Vec<u32> = rows.iter().map(|(netns, ..)| *netns).collect();
    facts.names(&numbers)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn narrow_ranges_are_told() {
        let mut facts = samples::healthy();
        assert!(check(&facts).is_empty());
        facts.state_mut().ports.range = PortRange {
            low: 40_000,
            high: 40_999,
        };
        let findings = check(&facts);
        assert_eq!(findings[0].id, "port_range_narrow");
        assert_eq!(
            findings[0].evidence,
            ["namespace 42: 40000-40999 has 1000 ports, 0 of them reserved"]
        );
    }

    #[test]
    fn reserved_ports_count_where_they_are_in_the_range_and_many() {
        let mut facts = samples::healthy();
        facts.state_mut().ports.reserved = (1_024..30_000).chain(40_000..40_100).collect();
        assert!(check(&facts).is_empty());
        facts.state_mut().ports.reserved = (40_000..50_000).collect();
        let findings = check(&facts);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].id, "port_range_reserved");
        assert!(findings[0].evidence[0].contains("10000 of them reserved"));
    }
}
