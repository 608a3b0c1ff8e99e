//! Connection tracking and NAT: a shortage that does not concern local ports.

use serde_json::json;

use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::model::namespace::Conntrack;

/// Usage from which the table is nearly full.
const NEARLY: f64 = 0.9;
/// Minimum number of clashes: packets that are sent twice at the same time, such as DNS requests, also cause a few.
const SOME: u64 = 5;

/// One finding for each namespace and kind. None if the module is not in use.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (netns, it) in &facts.namespaces {
        let Some(now) = it.now.conntrack else {
            continue;
        };
        // Without a first sample the increase is not known.
        let before = it.before.as_ref().and_then(|before| before.conntrack);
        let growth = |number: fn(&Conntrack) -> u64| {
            before.map_or(0, |before| number(&now).saturating_sub(number(&before)))
        };
        let clashes = growth(|it| it.insert_failed);
        let drops = growth(|it| it.drop);
        // The kernel counts a packet that it drops for a clash in both counters.
        let for_room = drops.saturating_sub(clashes);
        let early = growth(|it| it.early_drop);
        let figures = json!({
            "netns": netns, "count": now.count, "max": now.max,
            "insert_failed": clashes, "drop": drops, "early_drop": early,
        });
        if clashes >= SOME {
            findings.push(Finding {
                id: "nat_ports_exhausted",
                severity: Severity::Warning,
                title: format!("NAT in namespace {} finds no port of its own", facts.name(*netns)),
                evidence: vec![format!(
                    "conntrack's insert_failed grew by {clashes}: packets of new connections were dropped, as \
                     the address and port that SNAT gave them were taken; connect() then times out, it does \
                     not fail with EADDRNOTAVAIL, as local ports are not what is short"
                )],
                figures: figures.clone(),
                to_do: vec![
                    "give SNAT more ports or addresses (--to-source ADDRESS-ADDRESS, --random-fully with \
                     MASQUERADE), or spread the destinations"
                        .to_owned(),
                    "conntrack keeps its own TIME_WAITs, for \
                     net.netfilter.nf_conntrack_tcp_timeout_time_wait (120 s): these hold the ports of NAT"
                        .to_owned(),
                    format!("see what fails: {}", facts.command(*netns, "conntrack -S")),
                ],
                settings: Vec::new(),
                do_not: vec![
                    "net.ipv4.ip_local_port_range or tcp_tw_reuse for this: they are about sockets of this \
                     host, not about NAT"
                        .to_owned(),
                ],
            });
        }
        let is_full = now.count as f64 >= now.max as f64 * NEARLY && now.max > 0;
        if for_room > 0 || early > 0 || is_full {
            findings.push(Finding {
                id: "conntrack_table_full",
                severity: if for_room > 0 { Severity::Critical } else { Severity::Warning },
                title: format!(
                    "the table of connection tracking of namespace {} is full, or nearly",
                    facts.name(*netns)
                ),
                evidence: vec![format!(
                    "{} of {} entries are used; {for_room} packets were dropped because it was full, and {early} entries \
                     were removed early",
                    now.count, now.max
                )],
                figures,
                to_do: vec![
                    "raise net.netfilter.nf_conntrack_max (a namespace takes it from the initial one), or do \
                     without tracking where no NAT is done (raw table: NOTRACK)"
                        .to_owned(),
                ],
                settings: Vec::new(),
                do_not: vec![
                    "looking for the fault in local ports or TIME_WAITs: the packets do not leave the host"
                        .to_owned(),
                ],
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn with(before: Conntrack, now: Conntrack) -> Vec<&'static str> {
        let mut facts = samples::healthy();
        let namespace = facts.namespaces.get_mut(&samples::NETNS).unwrap();
        namespace.now.conntrack = Some(now);
        if let Some(state) = &mut namespace.before {
            state.conntrack = Some(before);
        }
        check(&facts).iter().map(|finding| finding.id).collect()
    }

    const QUIET: Conntrack = Conntrack {
        count: 10,
        max: 1_000,
        insert_failed: 70,
        drop: 3,
        early_drop: 2,
    };

    #[test]
    fn only_growth_counts() {
        assert!(with(QUIET, QUIET).is_empty());
        assert!(check(&samples::healthy()).is_empty());
        let clashing = Conntrack {
            insert_failed: 80,
            ..QUIET
        };
        assert_eq!(with(QUIET, clashing), ["nat_ports_exhausted"]);
        // In the way kernels count: the packets that clashed were dropped.
        let dropping = Conntrack {
            drop: 13,
            ..clashing
        };
        assert_eq!(with(QUIET, dropping), ["nat_ports_exhausted"]);
        let few = Conntrack {
            insert_failed: 73,
            drop: 6,
            ..QUIET
        };
        assert!(with(QUIET, few).is_empty());
    }

    #[test]
    fn a_full_table_is_told() {
        let full = Conntrack {
            count: 950,
            ..QUIET
        };
        assert_eq!(with(QUIET, full), ["conntrack_table_full"]);
        let dropping = Conntrack { drop: 4, ..QUIET };
        assert_eq!(with(QUIET, dropping), ["conntrack_table_full"]);
    }
}
