//! bind() to any port before connect(): all destinations share one port pool.

use serde_json::json;
use twtrace_wire::{PortOp, Side};

use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::{advice, bind_pool, budget};
use crate::model::budget::ports::PortRange;
use crate::model::budget::row::BudgetRow;
use crate::model::pairs::{self, PairRow};

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

/// Namespaces in which sockets of bind() have most ports, and no allocation of theirs has failed yet: a pool of bind()
/// that is scarce has a finding of its own.
fn pools(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for netns in facts.namespaces.keys() {
        let mut rows = facts
            .report
            .budgets
            .iter()
            .filter(|row| row.netns == *netns);
        // A connect() that lacks these ports has a finding of its own, too.
        let mut of_netns = rows.clone();
        let is_reported = |row: &BudgetRow| {
            budget::severity(row).is_some()
                && !bind_pool::is_effect(facts, row)
                && bind_pool::owners(facts, row).is_some()
        };
        if facts.has_scarce_bind(*netns) || of_netns.any(is_reported) {
            continue;
        }
        let crowded = rows.find_map(|row| {
            let (range, count) = (row.range?, bind_pool::of_bind(facts, row)?);
            bind_pool::has_most(facts, row).then_some((row, range, count))
        });
        if let Some((row, range, count)) = crowded {
            findings.push(crowd(facts, row, range, count));
        }
    }
    findings
}

fn crowd(facts: &DoctorFacts, row: &BudgetRow, range: PortRange, count: u64) -> Finding {
    let place = facts.name(row.netns);
    let is_none_left = row.capacity == Some(0);
    let by = budget::bound_by(row);
    let mut evidence = vec![format!(
        "in namespace {place} ports are chosen by bind(), before the destination is known; connect() skips such a port, \
         towards any destination and from any address, and a TIME_WAIT holds it too: bind() has {count} of {} ports, {} are left \
         to connect()",
        range.count(),
        row.capacity.unwrap_or(0),
    )];
    if !by.is_empty() {
        evidence.push(format!(
            "ports of open sockets, by process: {}",
            advice::list(&by)
        ));
    }
    Finding {
        id: "bind_before_connect",
        severity: match is_none_left {
            true => Severity::Critical,
            false => Severity::Warning,
        },
        title: match is_none_left {
            true => format!("bind() has all local ports of namespace {place}"),
            false => format!("bind() has nearly all local ports of namespace {place}"),
        },
        evidence,
        figures: json!({
            "budget": row, "process": null, "binds": null, "time_waits": null,
            "bound_by": advice::figures(&by),
        }),
        to_do: vec![advice::OWN_POOLS.to_owned()],
        settings: Vec::new(),
        do_not: vec![
            "net.ipv4.tcp_tw_reuse for this: neither bind() nor connect() takes a port in TIME_WAIT that bind() chose"
                .to_owned(),
        ],
    }
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
        if !is_client {
            return None;
        }
        let is_in_scarce = |pair: &PairRow| {
            let process = pair.process.as_ref().zip(row.process.as_ref());
            process.is_some_and(|(one, other)| one.key == other.key) && facts.is_of_scarce_bind(pair)
        };
        if facts.pairs.iter().any(is_in_scarce) {
            return None;
        }
        let name = pairs::name(row.process.as_ref()?);
        Some(Finding {
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
            settings: Vec::new(),
            do_not: Vec::new(),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::model::budget::row::PoolWord;
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
    fn ports_that_bind_has_are_counted_where_its_own_pool_has_no_finding() {
        let mut facts = samples::healthy();
        // Three destinations of a program that binds, and no other ports are left.
        let nobodys = BudgetRow {
            excluded: Some(1_000),
            capacity: Some(0),
            time_wait: Some(0),
            ..samples::budget(0, 0)
        };
        facts.report.budgets = vec![nobodys.clone(); 3];
        let all = super::super::findings(&facts);
        let [found] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!(
            (found.id, found.severity),
            ("bind_before_connect", Severity::Critical)
        );
        assert_eq!(found.title, "bind() has all local ports of namespace 42");
        assert!(found.to_do[0].contains("IP_BIND_ADDRESS_NO_PORT"));
        let with_room = BudgetRow {
            excluded: Some(850),
            capacity: Some(150),
            ..nobodys.clone()
        };
        facts.report.budgets = vec![with_room];
        assert_eq!(check(&facts)[0].severity, Severity::Warning);
        // Reserved ports are not those of bind().
        facts.state_mut().ports.reserved = (40_000..40_100).collect();
        assert!(check(&facts).is_empty());
    }

    #[test]
    fn one_finding_names_the_cause() {
        let mut facts = samples::healthy();
        let bind = BudgetRow {
            pool: PoolWord::Bind,
            destination: None,
            ..samples::budget(0, 40)
        };
        let nobodys = BudgetRow {
            excluded: Some(1_000),
            capacity: Some(0),
            time_wait: Some(0),
            ..samples::budget(0, 0)
        };
        facts.report.budgets = vec![nobodys.clone(), nobodys, bind];
        let mut row = samples::process("haproxy");
        for _ in 0..1_000 {
            row.counts.time_wait.add(Side::Client);
        }
        row.ports.push(PortRow {
            op: PortOp::Bind,
            exact: true,
            count: 1_040,
            failures: 40,
            untimed: 0,
            p50_ns: None,
            p99_ns: None,
            max_ns: None,
        });
        let mut pair = samples::pair(Side::Client, "10.0.0.2:80", 1_000, 0);
        pair.process = row.process.clone().map(std::sync::Arc::new);
        pair.counts.bind_failures = 40;
        facts.pairs = vec![pair];
        facts.report.processes.push(row);
        let all = super::super::findings(&facts);
        let [found] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!(
            (found.id, found.severity),
            ("budget_full", Severity::Critical)
        );
        assert!(
            found
                .title
                .ends_with("(bind before connect) ran out: haproxy(7)"),
            "{found:?}"
        );
        assert!(found.to_do[0].contains("IP_BIND_ADDRESS_NO_PORT"));
        let evidence = found.evidence.join("\n");
        assert!(
            evidence.contains("2 port pools of single destinations"),
            "{evidence}"
        );
        assert!(
            evidence.contains("created during the window: haproxy(7): 1000"),
            "{evidence}"
        );
        // connect() failed, too: that is another victim.
        facts.report.budgets[0].failures = 3;
        let all = super::super::findings(&facts);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].title.contains("bind before connect"));
    }
}
