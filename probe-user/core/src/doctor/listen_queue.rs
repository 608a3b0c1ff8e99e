//! Listeners whose queue overflows.

use serde_json::json;

use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};

/// One finding for each namespace.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (netns, it) in &facts.namespaces {
        // Without a first sample the increase is not known.
        let Some(before) = &it.before else {
            continue;
        };
        let growth = |before: Option<u64>, now: Option<u64>| {
            now.zip(before)
                .map_or(0, |(now, before)| now.saturating_sub(before))
        };
        let overflows = growth(before.listen_overflows, it.now.listen_overflows);
        let drops = growth(before.listen_drops, it.now.listen_drops);
        if overflows == 0 {
            continue;
        }
        findings.push(Finding {
            id: "listen_queue_overflow",
            severity: Severity::Warning,
            title: format!("a listener of namespace {} does not accept fast enough", facts.name(*netns)),
            evidence: vec![format!(
                "{overflows} connections found the queue of a listener full (ListenOverflows), {drops} were dropped \
                 in all (ListenDrops): their clients try again after a second or more, or time out"
            )],
            figures: json!({"netns": netns, "listen_overflows": overflows, "listen_drops": drops}),
            to_do: vec![
                format!(
                    "find the listener, whose Recv-Q reaches its Send-Q: {}",
                    facts.command(*netns, "ss -ltnp")
                ),
                "have it accept faster (more workers, no blocking work in its loop); then raise its backlog, \
                 which net.core.somaxconn bounds"
                    .to_owned(),
            ],
            do_not: vec![
                "net.ipv4.tcp_abort_on_overflow: clients then get a RST in place of a second chance".to_owned(),
            ],
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn growth_is_told_and_old_overflows_are_not() {
        let mut facts = samples::healthy();
        assert!(check(&facts).is_empty());
        facts.state_mut().listen_overflows = Some(8);
        facts.state_mut().listen_drops = Some(11);
        let findings = check(&facts);
        assert_eq!(
            findings[0].figures,
            json!({"netns": 42, "listen_overflows": 3, "listen_drops": 4})
        );
        for namespace in facts.namespaces.values_mut() {
            namespace.before = None;
        }
        assert!(check(&facts).is_empty());
    }
}
