//! Port pools that are used up, or nearly.

use serde_json::{Value, json};
use twtrace_wire::Side;

use super::advice::{self, NAMED};
use super::bind_pool::{self, is_effect};
use super::budget_remedy::{do_not, settings, to_do};
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::refused;
use crate::event::quantity::duration;
use crate::model::budget::holders::PoolHolder;
use crate::model::budget::row::{BudgetRow, Outlook, PoolWord};
use crate::model::destination::Destination;
use crate::model::pairs::{self, PairRow};

/// Usage from which a pool is nearly used up.
const NEARLY: f64 = 0.8;
/// A pool that lasts for less is also nearly used up, nanoseconds.
const SOON_NS: u64 = 600_000_000_000;
/// Minimum usage for the latter to count: a rate measured for some seconds says little about a pool that is hardly
/// used.
const TOUCHED: f64 = 0.1;
/// The same where open connections grow, and not TIME_WAITs: a service opens its connections when it starts, and then no
/// more.
const TOUCHED_BY_OPEN: f64 = 0.5;
/// Maximum number of pools that get a finding of their own, in each namespace.
const SHOWN: usize = 10;

/// One finding for each pool; beyond [`SHOWN`] in one namespace they are only counted.
pub fn check(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for netns in facts.namespaces_of_budgets() {
        let rows = facts.report.budgets.iter().filter(|row| row.netns == netns);
        let bad = rows.filter_map(|row| Some((row, severity(row)?)));
        let mut bad: Vec<(&BudgetRow, Severity)> =
            bad.filter(|(row, _)| !is_effect(facts, row)).collect();
        // Pools of bind() first: they take ports from all others.
        bad.sort_by_key(|(row, _)| row.pool != PoolWord::Bind);
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
    let (growth, all) = (row.live_growth_per_s, row.connections_per_s);
    let are_open = growth.unwrap_or(0.0) * 2.0 > all.unwrap_or(0.0);
    let is_soon = row.outlook == Outlook::RunsOut
        && row.full_in_ns.is_some_and(|left_ns| left_ns < SOON_NS)
        && used >= if are_open { TOUCHED_BY_OPEN } else { TOUCHED };
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
    let users = users(facts, row);
    let failed = failed(facts, row);
    let hindered = hindered(facts, row);
    let holders = holders(row);
    let mut evidence = vec![figures_in_words(facts, row)];
    if row.pool == PoolWord::Bind {
        evidence.push(
            "bind() chooses these ports before the destination is known: each serves one connection at a time, and a \
             TIME_WAIT to any destination holds it"
                .to_owned(),
        );
    }
    if !holders.is_empty() {
        evidence.push(format!(
            "live sockets at the end, by process: {}",
            advice::list(&holders)
        ));
    }
    evidence.extend(bind_pool::owners(facts, row));
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
    evidence.extend(older(facts, row));
    evidence.extend(effects(facts, row));
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
        title: title(row, severity, [&failed, &holders, &users]),
        evidence,
        figures: json!({
            "budget": row,
            "live_by": advice::figures(&holders),
            "bound_by": advice::figures(&bound_by(row)),
            "time_waits_by": advice::figures(&users),
            "failures_by": advice::figures(&failed),
            "refused_by": refused::figures(&hindered),
        }),
        to_do: to_do(facts, row, &hindered),
        settings: settings(facts, row),
        do_not: do_not(row),
    }
}

/// In a pool of bind() it names a process, the first of these lists that has one: there is no destination.
fn title(row: &BudgetRow, severity: Severity, named: [&[(String, u64)]; 3]) -> String {
    let towards = towards(row);
    let of = named.into_iter().find_map(|list| list.first());
    let of = match (row.pool, of) {
        (PoolWord::Bind, Some((name, _))) => format!(": {name}"),
        _ => String::new(),
    };
    match severity {
        Severity::Critical if row.failures > 0 => format!("local ports {towards} ran out{of}"),
        Severity::Critical => format!("no local port {towards} is left{of}"),
        _ => format!("local ports {towards} are running out{of}"),
    }
}

/// TIME_WAITs of the pool that are older than the window, at least. `None` if there are none, or if some that were
/// created during the window may not have been seen.
fn older(facts: &DoctorFacts, row: &BudgetRow) -> Option<String> {
    let report = &facts.report;
    let is_whole = report.lost.is_empty() && report.pairs_left_out == 0;
    if !is_whole || !facts.sees_all || report.history.is_some() {
        return None;
    }
    let may_be_of_it = |pair: &&PairRow| {
        let is_there = match (pair.side, row.destination) {
            (Side::Client, Some(wanted)) => match pair.destination {
                Destination::Remote(remote) => remote == wanted,
                _ => true,
            },
            (Side::Client, None) | (Side::Unknown, _) => true,
            (Side::Server, _) => false,
        };
        pair.netns == row.netns && is_there
    };
    let seen = facts.pairs.iter().filter(may_be_of_it);
    let seen: u64 = seen.map(|pair| pair.counts.time_wait).sum();
    let older = u64::from(row.time_wait?).saturating_sub(seen);
    (older > 0).then(|| {
        format!(
            "{older} of its TIME_WAIT sockets were created before the window, so their processes are not known"
        )
    })
}

/// What a pool of bind() leaves to others.
fn effects(facts: &DoctorFacts, row: &BudgetRow) -> Option<String> {
    let count = match row.pool {
        PoolWord::Bind => bind_pool::effects(facts, row),
        PoolWord::Connect => 0,
    };
    (count > 0).then(|| {
        format!(
            "connect() skips ports of bind(): {count} port pools of single destinations have few or none left for that \
             reason"
        )
    })
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

fn after_colon(rows: &[(String, u64)]) -> String {
    if rows.is_empty() {
        String::new()
    } else {
        format!(": {}", advice::list(rows))
    }
}

/// The processes that created TIME_WAITs in this pool. In a pool of bind(), these can't be distinguished from others
/// with the same source, which take its ports too.
pub fn users(facts: &DoctorFacts, row: &BudgetRow) -> Vec<(String, u64)> {
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
pub fn holders(row: &BudgetRow) -> Vec<(String, u64)> {
    named(&row.live_by)
}

/// The processes whose sockets of bind() have ports that it lacks.
pub fn bound_by(row: &BudgetRow) -> Vec<(String, u64)> {
    named(&row.bound_by)
}

fn named(holders: &[PoolHolder]) -> Vec<(String, u64)> {
    let name = |holder: &PoolHolder| match &holder.process {
        Some(process) => pairs::name(process),
        None => pairs::NOBODY.to_owned(),
    };
    let rows = holders.iter();
    advice::by_command(rows.map(|holder| (name(holder), holder.live)))
}

fn failed(facts: &DoctorFacts, row: &BudgetRow) -> Vec<(String, u64)> {
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

/// The pool with the highest usage, for a host without findings.
pub fn fullest(facts: &DoctorFacts) -> Option<&BudgetRow> {
    let used = |row: &BudgetRow| row.used().unwrap_or(0.0);
    let rows = facts.report.budgets.iter();
    rows.filter(|row| !bind_pool::is_nobodys(row))
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
