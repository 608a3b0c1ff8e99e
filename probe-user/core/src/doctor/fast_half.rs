//! Pools whose half that connect() tries first is used up: each allocation first searches that half in vain.

use serde_json::json;
use twtrace_wire::{PortOp, Side};

use super::advice;
use super::budget;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use crate::event::quantity::duration;
use crate::model::budget::row::{BudgetRow, HalfRow, PoolWord};
use crate::model::destination::Destination;
use crate::model::process_row::PortRow;

/// Minimum number of ports that are searched in vain per second: some thousandths of one CPU.
const SEARCHED_PER_S: f64 = 20_000.0;
/// Part of one CPU from which it is reported where latencies are exact, and from which it is a warning.
const LITTLE: f64 = 0.002;
const MUCH: f64 = 0.05;
/// Median latency from which it is a warning, nanoseconds: clients notice it.
const SLOW_NS: u64 = 1_000_000;
/// Maximum number of findings.
const SHOWN: usize = 5;

/// One finding for each pool that is not full itself.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let rows = facts.report.budgets.iter();
    let of_connect =
        rows.filter(|row| row.pool == PoolWord::Connect && budget::severity(row).is_none());
    let findings = of_connect.filter_map(|row| finding(facts, row));
    findings.take(SHOWN).collect()
}

fn finding(facts: &DoctorFacts, row: &BudgetRow) -> Option<Finding> {
    let half = row
        .fast_half
        .filter(|half| half.free == 0 && half.capacity > 0)?;
    let per_s = row.connections_per_s?;
    let latency = latency(facts, row);
    let cost = latency
        .as_ref()
        .map(|(_, p50_ns)| *p50_ns as f64 / 1e9 * per_s);
    let is_worth_it = match cost {
        Some(cost) => cost >= LITTLE,
        None => f64::from(half.capacity) * per_s >= SEARCHED_PER_S,
    };
    if !is_worth_it {
        return None;
    }
    let is_slow = latency
        .as_ref()
        .is_some_and(|(_, p50_ns)| *p50_ns >= SLOW_NS);
    let is_much = is_slow || cost.is_some_and(|cost| cost >= MUCH);
    let towards = budget::towards(row);
    let users = budget::users(facts, row);
    let mut evidence = vec![in_words(facts, row, half, per_s)];
    evidence.push(match (&latency, cost) {
        (Some((name, p50_ns)), Some(cost)) => format!(
            "half of the connect() calls of {name} searched for a port for {} or longer: with {} to this destination, that is \
             {:.1} % of one CPU",
            duration(*p50_ns),
            advice::rate(per_s),
            cost * 100.0
        ),
        _ => "how long they search is not known: these hooks do not measure it".to_owned(),
    });
    if !users.is_empty() {
        evidence.push(format!(
            "TIME_WAIT sockets created during the window: {}",
            advice::list(&users)
        ));
    }
    Some(Finding {
        id: "fast_half_full",
        severity: if is_much {
            Severity::Warning
        } else {
            Severity::Notice
        },
        title: format!("the ports that connect() tries first are used up {towards}"),
        evidence,
        figures: json!({
            "budget": row,
            "process": latency.as_ref().map(|(name, _)| name),
            "p50_ns": latency.as_ref().map(|(_, p50_ns)| p50_ns),
            "cpu": cost.map(|cost| (cost * 1e4).round() / 1e4),
        }),
        to_do: to_do(facts, row),
        settings: Vec::new(),
        do_not: vec![
            advice::NO_FIN_TIMEOUT.to_owned(),
            advice::NO_RECYCLE.to_owned(),
        ],
    })
}

fn in_words(facts: &DoctorFacts, row: &BudgetRow, half: HalfRow, per_s: f64) -> String {
    let parity = match row.range.map(|range| range.low % 2) {
        Some(0) => "even ",
        Some(_) => "odd ",
        None => "",
    };
    format!(
        "namespace {}: none of the {} {parity}ports is free, which connect() tries first: each connect, {}, searches them in \
         vain before it tries the others",
        facts.name(row.netns),
        half.capacity,
        advice::rate(per_s)
    )
}

/// The median latency of the process that created the most TIME_WAITs towards this destination, over all its destinations;
/// if hooks measured the allocation itself.
fn latency(facts: &DoctorFacts, row: &BudgetRow) -> Option<(String, u64)> {
    let destination = Destination::Remote(row.destination?);
    let of_pool = facts.pairs.iter().filter(|pair| {
        pair.netns == row.netns && pair.side == Side::Client && pair.destination == destination
    });
    let most = of_pool.max_by_key(|pair| pair.counts.time_wait)?;
    let who = most.process.as_ref()?;
    let row = facts.row_of(who)?;
    let is_exact = |port: &&PortRow| port.op == PortOp::Connect && port.exact;
    let port = row.ports.iter().find(is_exact)?;
    Some((crate::model::pairs::name(who), port.p50_ns?))
}

fn to_do(facts: &DoctorFacts, row: &BudgetRow) -> Vec<String> {
    let mut to_do = vec![
        "keep connections alive and use them again, or bound their number, so that less than half of the range is used"
            .to_owned(),
    ];
    if let Some(range) = row.range
        && super::port_range::may_grow(range)
    {
        to_do.push(super::port_range::widen(facts, row.netns));
    }
    to_do.push(
        "more destinations or sources: each has both halves for itself; or from Linux 6.12 on, set IP_LOCAL_PORT_RANGE on the \
         sockets, which makes connect() start anywhere"
            .to_owned(),
    );
    to_do
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn with(half_free: u32, per_s: f64, p50_ns: Option<u64>) -> Vec<Finding> {
        let mut facts = samples::healthy();
        facts.report.budgets = vec![BudgetRow {
            fast_half: Some(HalfRow {
                capacity: 500,
                free: half_free,
                full_in_ns: None,
            }),
            connections_per_s: Some(per_s),
            ..samples::budget(400, 0)
        }];
        facts.pairs = vec![samples::pair(Side::Client, "10.0.0.2:80", 100, 0)];
        let mut row = samples::process("nginx");
        row.ports.push(PortRow {
            op: PortOp::Connect,
            exact: p50_ns.is_some(),
            count: 100,
            failures: 0,
            untimed: 0,
            p50_ns,
            p99_ns: p50_ns,
            max_ns: p50_ns,
        });
        facts.report.processes.push(row);
        check(&facts)
    }

    #[test]
    fn a_half_that_is_used_up_has_a_cost() {
        let found = &with(0, 500.0, Some(1_570_000))[0];
        assert_eq!(
            (found.id, found.severity),
            ("fast_half_full", Severity::Warning)
        );
        let evidence = found.evidence.join("\n");
        assert!(
            evidence.contains("none of the 500 even ports is free"),
            "{evidence}"
        );
        assert!(
            evidence.contains("of nginx(7) searched for a port for 1.57ms"),
            "{evidence}"
        );
        assert!(evidence.contains("that is 78.5 % of one CPU"), "{evidence}");
        assert_eq!(with(0, 100.0, Some(100_000))[0].severity, Severity::Notice);
        // Where the latency is not known: by the number of ports.
        let found = &with(0, 50.0, None)[0];
        assert_eq!(found.severity, Severity::Notice);
        assert!(found.evidence[1].contains("is not known"));
    }

    #[test]
    fn what_costs_nothing_is_not_reported() {
        assert!(with(1, 500.0, Some(1_570_000)).is_empty());
        assert!(with(0, 10.0, Some(50_000)).is_empty());
        assert!(with(0, 30.0, None).is_empty());
    }
}
