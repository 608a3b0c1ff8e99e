//! `twtrace doctor`: checks over a report and the facts of each namespace. They are pure functions: their input is
//! [`DoctorFacts`], and they change nothing.

pub mod diagnosis;
pub mod facts;
pub mod finding;

mod advice;
mod bind_before_connect;
mod bind_pool;
mod bounded;
pub mod budget;
mod budget_remedy;
mod by_ipv4;
mod caveats;
mod churn;
mod close_wait;
mod conntrack;
mod fast_half;
mod fin_timeout;
mod linger;
mod listen_queue;
mod no_address;
mod not_acknowledged;
mod patterns;
mod port_obstacle;
mod port_range;
mod port_remedy;
mod port_taken;
mod refused;
mod reset_storm;
mod resets;
mod reuse;
pub mod setting;
mod side;
mod tw_buckets;
mod unconnected;
pub mod what_if;

#[cfg(any(test, feature = "samples"))]
#[allow(clippy::unwrap_used, reason = "only tests are made of them")]
pub mod samples;

use facts::DoctorFacts;
use finding::Finding;

/// A check: returns its findings.
type Check = fn(&DoctorFacts) -> Vec<Finding>;

/// All checks, the most important first, and causes before their effects.
const CHECKS: &[Check] = &[
    budget::check,
    port_taken::check,
    no_address::check,
    bind_before_connect::check,
    conntrack::check,
    tw_buckets::check,
    listen_queue::check,
    unconnected::check,
    not_acknowledged::check,
    close_wait::check,
    fast_half::check,
    side::client_closes_first,
    side::server_closes_first,
    linger::check,
    resets::check,
    reuse::without_timestamps,
    reuse::peer_without_timestamps,
    reuse::for_inbound,
    port_range::check,
    fin_timeout::check,
];

/// Findings of all checks, the worst first.
pub fn findings(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(facts)).collect();
    for finding in &mut findings {
        patterns::explain(facts, finding);
    }
    // A stable sort: checks keep their order.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        assert!(findings(&samples::healthy()).is_empty());
    }

    #[test]
    fn the_worst_comes_first() {
        let mut facts = samples::healthy();
        facts.state_mut().fin_timeout_s = Some(15);
        facts.state_mut().ports.tw_reuse = crate::model::budget::sysctls::TwReuse::Always;
        facts.state_mut().ports.timestamps = false;
        facts.report.budgets.push(samples::budget(0, 3));
        let words: Vec<_> = findings(&facts)
            .iter()
            .map(|finding| (finding.severity.word(), finding.id))
            .collect();
        assert_eq!(
            words,
            [
                ("critical", "budget_full"),
                ("warning", "reuse_without_timestamps"),
                ("notice", "fin_timeout_lowered"),
            ]
        );
    }
}
