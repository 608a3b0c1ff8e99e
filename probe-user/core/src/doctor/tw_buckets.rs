//! tcp_max_tw_buckets: connections that the kernel closed without a TIME_WAIT.

use serde_json::json;

use super::advice;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::setting::SettingName;

/// Usage from which the limit is near.
const NEARLY: f64 = 0.9;

/// One finding for each namespace.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (netns, it) in &facts.namespaces {
        // If several namespaces had this number, the one that has it now.
        let rows = facts.report.audit.iter().filter(|row| row.netns == *netns);
        let audit = rows.max_by_key(|row| row.netns_nth);
        // If the two counts differ, the kernel's is more reliable.
        let refused = audit.map_or(0, |row| row.overflow_kernel.unwrap_or(row.overflow_seen));
        let (alive, max) = (it.now.time_waits.unwrap_or(0), it.now.max_tw_buckets);
        let before = it.before.as_ref().and_then(|before| before.time_waits);
        let most = alive.max(before.unwrap_or(0));
        let is_near = max.is_some_and(|max| most as f64 >= max as f64 * NEARLY && max > 0);
        if refused == 0 && !is_near {
            continue;
        }
        let limit = max.map_or("?".to_owned(), |max| max.to_string());
        let greater = max.unwrap_or(0).saturating_mul(4).max(65_536);
        let raised = facts.setting(*netns, SettingName::MaxTwBuckets, greater);
        let mut evidence = vec![format!(
            "{alive} TIME_WAITs are alive{}, {limit} are allowed (net.ipv4.tcp_max_tw_buckets)",
            before.map_or_else(String::new, |before| format!(
                " ({before} when the window began)"
            ))
        )];
        let who: Vec<_> = facts
            .report
            .processes
            .iter()
            .filter(|row| row.counts.overflow.total() > 0)
            .filter_map(|row| {
                let name = crate::model::pairs::name(row.process.as_ref()?);
                Some((name, row.counts.overflow.total()))
            })
            .collect();
        if refused > 0 {
            evidence.push(format!(
                "{refused} connections were closed without TIME_WAIT during the window{}",
                if who.is_empty() {
                    String::new()
                } else {
                    format!("; of the whole host: {}", advice::list(&who))
                }
            ));
        }
        findings.push(Finding {
            id: "tw_buckets_overflow",
            severity: Severity::Warning,
            title: match refused {
                0 => format!(
                    "nearly as many TIME_WAITs as are allowed in namespace {}",
                    facts.name(*netns)
                ),
                _ => format!(
                    "more TIME_WAITs than are allowed in namespace {}",
                    facts.name(*netns)
                ),
            },
            evidence,
            figures: json!({
                "netns": netns, "refused": refused, "alive": it.now.time_waits, "alive_before": before, "max": max,
                "refused_by": advice::figures(&who),
            }),
            to_do: vec![format!(
                "raise the limit; a TIME_WAIT takes some 300 bytes: {}",
                facts.set(&raised)
            )],
            settings: vec![raised.clone()],
            do_not: vec![advice::NO_BUCKETS.to_owned(), advice::NO_RECYCLE.to_owned()],
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::hooks::ResetsSeen;
    use crate::model::audit::{CountedAt, Last, Reading, Sight, Uncertainty, audit};

    fn with(refused: u64, alive: u64) -> Vec<Finding> {
        between(refused, 0, alive)
    }

    fn between(refused: u64, before_alive: u64, alive: u64) -> Vec<Finding> {
        let mut facts = samples::healthy();
        facts.state_mut().time_waits = Some(alive);
        facts.state_mut().max_tw_buckets = Some(1_000);
        let mut reading = Reading::default();
        reading.kernel.overflow = refused;
        let last = Last::AtEnd {
            reading,
            uncertainty: Uncertainty::default(),
        };
        let sight = Sight {
            counted: CountedAt::Birth { ends_seen: true },
            resets: ResetsSeen::All,
        };
        if let Some(before) = &mut facts.namespaces.values_mut().next().unwrap().before {
            before.time_waits = Some(before_alive);
        }
        facts.report.audit = vec![audit(samples::NETNS, Some(Reading::default()), last, sight)];
        check(&facts)
    }

    #[test]
    fn refusals_are_told_and_room_is_not() {
        let findings = with(7, 1_000);
        assert!(findings[0].evidence[1].starts_with("7 connections"));
        assert!(findings[0].to_do[0].contains("tcp_max_tw_buckets=65536"));
        assert_eq!(with(0, 950).len(), 1);
        assert!(with(0, 500).is_empty());
        // They were there when the window began, and have ended since.
        let ended = between(0, 950, 100);
        assert!(
            ended[0].evidence[0]
                .starts_with("100 TIME_WAITs are alive (950 when the window began)"),
            "{ended:?}"
        );
    }
}
