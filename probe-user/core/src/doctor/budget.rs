//! Port pools that are used up, or nearly.

use std::borrow::Cow;

use serde_json::{Value, json};
use twtrace_wire::{ReuseRefusal, Side};

use super::advice::{self, NAMED};
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::refused;
use crate::event::quantity::duration;
use crate::model::budget::holders::PoolHolder;
use crate::model::budget::row::{BudgetRow, Outlook, PoolWord};
use crate::model::budget::sysctls::TwReuse;
use crate::model::destination::Destination;
use crate::model::pairs::{self, PairRow};

/// Usage from which a pool is nearly used up.
const NEARLY: f64 = 0.8;
/// A pool that lasts for less is also nearly used up, nanoseconds.
const SOON_NS: u64 = 600_000_000_000;
/// Minimum usage for the latter to count: a rate measured for some seconds says little about a pool that is hardly
/// used.
const TOUCHED: f64 = 0.1;
/// Maximum number of pools that get a finding of their own, in each namespace.
const SHOWN: usize = 10;

/// One finding for each pool; beyond [`SHOWN`] in one namespace they are only counted.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for netns in facts.namespaces_of_budgets() {
        let rows = facts.report.budgets.iter().filter(|row| row.netns == netns);
        let bad: Vec<(&BudgetRow, Severity)> =
            rows.filter_map(|row| Some((row, severity(row)?))).collect();
        let further = bad.len().saturating_sub(SHOWN);
        for (row, severity) in bad.iter().take(SHOWN) {
            findings.push(finding(facts, row, *severity, further));
        }
    }
    findings
}

/// `None` if there is enough room.
pub fn severity(row: &BudgetRow) -> Option<Severity> {
    let used = row.used().unwrap_or(0.0);
    let is_soon = row.outlook == Outlook::RunsOut
        && row.full_in_ns.is_some_and(|left_ns| left_ns < SOON_NS)
        && used >= TOUCHED;
    if row.failures > 0 || row.free == Some(0) {
        Some(Severity::Critical)
    } else if used > NEARLY || is_soon {
        Some(Severity::Warning)
    } else {
        None
    }
}

impl DoctorFacts {
    /// Namespaces with port pools, the one with the fullest pool first.
    fn namespaces_of_budgets(&self) -> Vec<u32> {
        let mut numbers = Vec::new();
        for row in &self.report.budgets {
            if !numbers.contains(&row.netns) {
                numbers.push(row.netns);
            }
        }
        numbers
    }
}

fn finding(facts: &DoctorFacts, row: &BudgetRow, severity: Severity, further: usize) -> Finding {
    let towards = towards(row);
    let title = match severity {
        Severity::Critical if row.failures > 0 => format!("local ports {towards} ran out"),
        Severity::Critical => format!("no local port {towards} is left"),
        _ => format!("local ports {towards} are running out"),
    };
    let users = users(facts, row);
    let failed = failed(facts, row);
    let hindered = hindered(facts, row);
    let mut evidence = vec![figures_in_words(facts, row)];
    let holders = holders(row);
    if !holders.is_empty() {
        evidence.push(format!(
            "live sockets at the end, by process: {}",
            advice::list(&holders)
        ));
    }
    if row.failures > 0 {
        evidence.push(format!(
            "{} port allocations failed with {} during the window{}",
            row.failures,
            match row.pool {
                PoolWord::Connect => "EADDRNOTAVAIL",
                PoolWord::Bind => "EADDRINUSE",
            },
            after_colon(&failed)
        ));
        evidence.extend(why_although_free(row));
    }
    if !users.is_empty() {
        evidence.push(format!(
            "TIME_WAIT sockets created during the window: {}",
            advice::list(&users)
        ));
    }
    evidence.extend(refused::sentences(&hindered));
    if let (Outlook::RunsOut, Some(left_ns)) = (row.outlook, row.full_in_ns) {
        evidence.push(format!(
            "at the current rate the last one is taken in {}",
            duration(left_ns)
        ));
    }
    if further > 0 {
        evidence.push(format!(
            "{further} more port pools of this namespace are as full: see twtrace report --by budget"
        ));
    }
    Finding {
        id: match severity {
            Severity::Critical => "budget_full",
            _ => "budget_nearly_full",
        },
        severity,
        title,
        evidence,
        figures: json!({
            "budget": row,
            "live_by": advice::figures(&holders),
            "time_waits_by": advice::figures(&users),
            "failures_by": advice::figures(&failed),
            "refused_by": refused::figures(&hindered),
        }),
        to_do: to_do(facts, row, &hindered),
        do_not: do_not(row),
    }
}

/// Why allocations failed in a pool that has free ports at the end.
fn why_although_free(row: &BudgetRow) -> Option<String> {
    let free = row.free.filter(|free| *free > 0)?;
    Some(match row.time_wait_reusable {
        Some(reusable) if reusable > 0 => format!(
            "{free} ports are free now: a TIME_WAIT is reused only after tcp_tw_reuse_delay (1 s by default), so a burst of more \
             than {} connections within it finds none",
            row.capacity.unwrap_or(free)
        ),
        _ => format!(
            "{free} ports are free now: when the calls failed they were taken, or sockets that are bound to other addresses had \
             them (list them: ss -tanp; IP_BIND_ADDRESS_NO_PORT leaves the port to connect())"
        ),
    })
}

/// Such as `from 10.0.0.1 to 10.0.0.2:80`.
pub fn towards(row: &BudgetRow) -> String {
    let source = match row.source {
        Some(source) if source.is_unspecified() => "from any address".to_owned(),
        Some(source) => format!("from {source}"),
        None => "from an unknown address".to_owned(),
    };
    match row.destination {
        Some(destination) => format!("{source} to {destination}"),
        None => format!("{source} to anywhere (bind before connect)"),
    }
}

fn figures_in_words(facts: &DoctorFacts, row: &BudgetRow) -> String {
    let number = |value: Option<u32>| value.map_or("?".to_owned(), |value| value.to_string());
    match (row.range, row.why.as_ref(), row.capacity) {
        (_, Some(why), None) => format!("namespace {}: {why}", facts.name(row.netns)),
        (range, ..) => format!(
            "namespace {}, range {}: {} of {} ports are free, {} are held by live sockets, {} by TIME_WAITs \
             ({} of them reusable)",
            facts.name(row.netns),
            range.map_or("?".to_owned(), |range| if row.socket_range {
                format!("{range} (the sockets' own)")
            } else {
                range.to_string()
            }),
            number(row.free),
            number(row.capacity),
            number(row.live),
            number(row.time_wait),
            number(row.time_wait_reusable),
        ),
    }
}

fn after_colon(rows: &[(Cow<'static, str>, u64)]) -> String {
    if rows.is_empty() {
        String::new()
    } else {
        format!(": {}", advice::list(rows))
    }
}

/// The processes that created TIME_WAITs in this pool. In a pool of bind(), these can't be distinguished from others
/// with the same source.
fn users(facts: &DoctorFacts, row: &BudgetRow) -> Vec<(Cow<'static, str>, u64)> {
    let is_of = |destination: &Destination| match row.destination {
        Some(wanted) => *destination == Destination::Remote(wanted),
        None => true,
    };
    facts.processes(
        |pair| pair.netns == row.netns && pair.side == Side::Client && is_of(&pair.destination),
        |counts| counts.time_wait,
    )
}

/// The processes with its live sockets; empty if they are not known.
fn holders(row: &BudgetRow) -> Vec<(Cow<'static, str>, u64)> {
    let name = |holder: &PoolHolder| match &holder.process {
        Some(process) => pairs::name(process).into(),
        None => pairs::NOBODY.into(),
    };
    let rows = row.live_by.iter();
    rows.map(|holder| (name(holder), holder.live)).collect()
}

fn failed(facts: &DoctorFacts, row: &BudgetRow) -> Vec<(Cow<'static, str>, u64)> {
    match (row.pool, row.destination) {
        (PoolWord::Connect, Some(wanted)) => facts.processes(
            |pair| pair.netns == row.netns && pair.destination == Destination::Remote(wanted),
            |counts| counts.connect_failures,
        ),
        (PoolWord::Connect, None) => Vec::new(),
        (PoolWord::Bind, _) => facts.processes(
            |pair| pair.netns == row.netns,
            |counts| counts.bind_failures,
        ),
    }
}

/// The processes whose connects found TIME_WAITs of this pool and could not reuse them.
fn hindered<'a>(facts: &'a DoctorFacts, row: &BudgetRow) -> Vec<&'a PairRow> {
    let (PoolWord::Connect, Some(wanted)) = (row.pool, row.destination) else {
        return Vec::new();
    };
    facts
        .hindered(|pair| pair.netns == row.netns && pair.destination == Destination::Remote(wanted))
}

/// Whether live sockets hold most of the used ports.
fn is_live(row: &BudgetRow) -> bool {
    row.live.unwrap_or(0) > row.time_wait.unwrap_or(0)
}

fn to_do(facts: &DoctorFacts, row: &BudgetRow, hindered: &[&PairRow]) -> Vec<String> {
    let mut to_do = Vec::new();
    if is_live(row) {
        let by = holders(row);
        let of = by
            .first()
            .map_or_else(String::new, |(name, _)| format!(" of {name}"));
        to_do.push(format!(
            "most of the ports are held by open connections{of}: bound the number of connections, or find out \
             why they are not closed; remedies against TIME_WAIT do not help here"
        ));
    } else {
        to_do.push(
            "keep connections alive and use them again (a pool, HTTP keep-alive, nginx: keepalive in upstream)"
                .to_owned(),
        );
    }
    if row.pool == PoolWord::Bind {
        to_do.push(advice::OWN_POOLS.to_owned());
    }
    let state = facts.state(row.netns);
    let reuse_helps = !is_live(row) && row.pool == PoolWord::Connect;
    if let Some(ports) = state.map(|state| &state.ports)
        && reuse_helps
    {
        if !ports.timestamps {
            to_do.push(format!(
                "switch TCP timestamps on, without which no TIME_WAIT is reused: {}",
                facts.command(row.netns, "sysctl -w net.ipv4.tcp_timestamps=1")
            ));
        }
        if ports.tw_reuse != TwReuse::Always {
            to_do.push(format!(
                "let connect() take ports in TIME_WAIT, which is safe for outbound connections: {}",
                facts.command(row.netns, "sysctl -w net.ipv4.tcp_tw_reuse=1")
            ));
        }
    }
    if refused::count(hindered, ReuseRefusal::PeerWithoutTimestamps) > 0 {
        to_do.push(
            "switch TCP timestamps on at the peer, or in what stands between: without them its TIME_WAITs are \
             not reused"
                .to_owned(),
        );
    }
    if row.socket_range {
        to_do.push(
            "let these sockets have more ports: they set a range of their own (IP_LOCAL_PORT_RANGE), narrower \
             than the namespace's"
                .to_owned(),
        );
    } else if let Some(range) = row.range
        && super::port_range::may_grow(range)
    {
        to_do.push(super::port_range::widen(facts, row.netns));
    }
    to_do.push(
        "more destinations or sources: each address and port of the backend, and each source address, has \
         all the ports for itself"
            .to_owned(),
    );
    to_do
}

fn do_not(row: &BudgetRow) -> Vec<String> {
    if is_live(row) {
        vec![advice::NO_LINGER.to_owned()]
    } else {
        [
            advice::NO_RECYCLE,
            advice::NO_FIN_TIMEOUT,
            advice::NO_LINGER,
            advice::NO_BUCKETS,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// The pool with the highest usage, for a host without findings.
pub fn fullest(facts: &DoctorFacts) -> Option<&BudgetRow> {
    let used = |row: &BudgetRow| row.used().unwrap_or(0.0);
    facts
        .report
        .budgets
        .iter()
        .max_by(|a, b| used(a).total_cmp(&used(b)))
}

/// That pool with its figures, as one object.
pub fn fullest_json(facts: &DoctorFacts) -> Value {
    fullest(facts).map_or(Value::Null, |row| json!(row))
}

const _: () = assert!(NAMED < SHOWN);

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
