//! bind() to any port before connect(): all destinations share one port pool.

use serde_json::json;
use twtrace_wire::{PortOp, Side};

use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::{advice, budget};
use crate::model::budget::row::PoolWord;
use crate::model::pairs;

/// Minimum number of bind() calls before a client that binds is reported.
const MANY: u64 = 50;
/// Minimum fraction of the bound sockets that a client has closed: below that, something else may bind.
const PART: f64 = 0.5;

/// Finds pools of bind() that are nearly full, or else the processes that bind before they connect.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = pools(facts);
    findings.extend(processes(facts));
    findings
}

/// The check of port pools also reports a full pool; this one adds what makes it small.
fn pools(facts: &DoctorFacts) -> Vec<Finding> {
    let rows = facts
        .report
        .budgets
        .iter()
        .filter(|row| row.pool == PoolWord::Bind);
    rows.filter_map(|row| {
        budget::severity(row)?;
        Some(Finding {
            id: "bind_before_connect",
            severity: Severity::Warning,
            title: format!(
                "one pool of ports for all destinations {}",
                budget::towards(row)
            ),
            evidence: vec![format!(
                "in namespace {} ports are chosen by bind(), before the destination is known; such a port \
                 serves one connection at a time, and a TIME_WAIT to any destination holds it",
                facts.name(row.netns)
            )],
            figures: json!({"budget": row, "process": null, "binds": null, "time_waits": null}),
            to_do: vec![advice::OWN_POOLS.to_owned()],
            do_not: vec![
                "net.ipv4.tcp_tw_reuse for this: bind() does not take ports in TIME_WAIT".to_owned(),
            ],
        })
    })
    .collect()
}

fn processes(facts: &DoctorFacts) -> Vec<Finding> {
    let rows = facts.report.processes.iter();
    rows.filter_map(|row| {
        // The system-call tier also sees a bind() that allocates no port.
        let binds: u64 = row
            .ports
            .iter()
            .filter(|port| port.op == PortOp::Bind && port.exact)
            .map(|port| port.count)
            .sum();
        let time_waits = row.counts.time_wait.of(Side::Client);
        let is_client = binds >= MANY && time_waits as f64 >= binds as f64 * PART;
        let name = pairs::name(row.process.as_ref()?);
        is_client.then(|| Finding {
            id: "bind_before_connect",
            severity: Severity::Notice,
            title: format!("{name} binds before it connects"),
            evidence: vec![format!(
                "{name} allocated a port in bind() {binds} times, and created {time_waits} TIME_WAITs as a client: \
                 all its destinations share one pool of ports"
            )],
            figures: json!({
                "budget": null, "process": name, "binds": binds, "time_waits": time_waits,
            }),
            to_do: vec![advice::OWN_POOLS.to_owned()],
            do_not: Vec::new(),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::model::budget::row::BudgetRow;
    use crate::model::report::PortRow;

    fn binder(binds: u64, time_waits: u64, exact: bool) -> Vec<Finding> {
        let mut facts = samples::healthy();
        let mut row = samples::process("haproxy");
        for _ in 0..time_waits {
            row.counts.time_wait.add(Side::Client);
        }
        row.ports.push(PortRow {
            op: PortOp::Bind,
            exact,
            count: binds,
            failures: 0,
            untimed: 0,
            p50_ns: None,
            p99_ns: None,
            max_ns: None,
        });
        facts.report.processes.push(row);
        check(&facts)
    }

    #[test]
    fn a_client_that_binds_is_named() {
        let findings = binder(100, 90, true);
        assert_eq!(findings[0].severity, Severity::Notice);
        assert!(
            findings[0].evidence[0].starts_with("haproxy(7) allocated a port in bind() 100 times")
        );
        assert!(binder(100, 10, true).is_empty());
        assert!(binder(100, 90, false).is_empty());
        assert!(binder(20, 20, true).is_empty());
    }

    #[test]
    fn a_pool_that_is_nearly_full_is_told() {
        let mut facts = samples::healthy();
        let pool = |free| BudgetRow {
            pool: PoolWord::Bind,
            destination: None,
            ..samples::budget(free, 0)
        };
        facts.report.budgets = vec![pool(10)];
        let findings = check(&facts);
        assert_eq!(findings[0].severity, Severity::Warning);
        assert!(findings[0].to_do[0].contains("IP_BIND_ADDRESS_NO_PORT"));
        facts.report.budgets = vec![pool(800), samples::budget(0, 9)];
        assert!(check(&facts).is_empty());
    }
}
