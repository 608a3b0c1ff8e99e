//! tcp_fin_timeout, lowered by a user who took it for the length of TIME_WAIT.

use serde_json::json;

use super::advice;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};

/// The kernel's default, seconds.
const DEFAULT_S: u64 = 60;

/// One finding for all namespaces.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let lowered: Vec<(u32, u64)> = facts
        .namespaces
        .iter()
        .filter_map(|(netns, it)| Some((*netns, it.now.fin_timeout_s?)))
        .filter(|(_, seconds)| *seconds < DEFAULT_S)
        .collect();
    let Some((first, seconds)) = lowered.first() else {
        return Vec::new();
    };
    let numbers: Vec<u32> = lowered.iter().map(|(netns, _)| *netns).collect();
    let rows: Vec<_> = lowered
        .iter()
        .map(|(netns, seconds)| json!({"netns": netns, "fin_timeout_s": seconds}))
        .collect();
    vec![Finding {
        id: "fin_timeout_lowered",
        severity: Severity::Notice,
        title: format!(
            "tcp_fin_timeout is {seconds} s in {}: that does not shorten TIME_WAIT",
            facts.names(&numbers)
        ),
        evidence: vec![format!(
            "it bounds how long a closed connection waits for the peer's FIN (FIN_WAIT2); a TIME_WAIT lasts {}",
            lasts(facts, *first)
        )],
        figures: json!({ "namespaces": rows }),
        to_do: vec![format!(
            "leave it if peers that never close are the reason for it; else set it back: {}",
            facts.command(*first, "sysctl -w net.ipv4.tcp_fin_timeout=60")
        )],
        settings: Vec::new(),
        do_not: vec![
            "lowering it further against TIME_WAITs: a peer that closes later than that gets a RST"
                .to_owned(),
            advice::NO_RECYCLE.to_owned(),
        ],
    }]
}

/// How long TIME_WAIT lasts, and by which setting.
fn lasts(facts: &DoctorFacts, netns: u32) -> String {
    let set = facts.state(netns).and_then(|state| state.ports.tw_timeout);
    match set {
        Some(timeout) => format!("{} s, by net.ipv4.tcp_tw_timeout", timeout.seconds()),
        None => "60 s, which no setting changes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::model::budget::sysctls::TwTimeout;

    #[test]
    fn a_lowered_one_is_told_and_the_default_is_not() {
        let mut facts = samples::healthy();
        assert!(check(&facts).is_empty());
        facts.state_mut().fin_timeout_s = Some(15);
        let findings = check(&facts);
        assert!(findings[0].title.contains("15 s in namespace 42"));
        assert!(findings[0].evidence[0].ends_with("lasts 60 s, which no setting changes"));
        facts.state_mut().ports.tw_timeout = TwTimeout::from_seconds(20);
        let evidence = &check(&facts)[0].evidence[0];
        assert!(
            evidence.ends_with("lasts 20 s, by net.ipv4.tcp_tw_timeout"),
            "{evidence}"
        );
        facts.state_mut().fin_timeout_s = Some(120);
        assert!(check(&facts).is_empty());
    }
}
