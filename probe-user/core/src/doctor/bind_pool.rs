//! Port pools of bind(): who allocates from them, and what else they leave without ports.

use std::net::IpAddr;

use twtrace_wire::{PortOp, Side};

use super::facts::DoctorFacts;
use super::{advice, budget};
use crate::event::Process;
use crate::model::budget::row::{BudgetRow, PoolWord};
use crate::model::pairs::PairRow;

/// Minimum fraction of its client TIME_WAITs for which a process must have called bind(), to be one that binds before
/// it connects.
const PART: f64 = 0.5;

impl DoctorFacts {
    /// Whether a process binds before it connects, as far as its calls show.
    pub fn is_binder(&self, process: &Process) -> bool {
        let mut rows = self.report.processes.iter();
        let row = rows.find(|row| row.process.as_ref().is_some_and(|it| it.key == process.key));
        row.is_some_and(|row| {
            let of_bind = row.ports.iter().filter(|port| port.op == PortOp::Bind);
            let binds: u64 = of_bind.map(|port| port.count).sum();
            binds > 0 && binds as f64 >= row.counts.time_wait.of(Side::Client) as f64 * PART
        })
    }

    /// Whether a pair's connections have their ports from a pool of bind() that is full, or nearly.
    pub fn is_of_scarce_bind(&self, pair: &PairRow) -> bool {
        let is_binder = |process: &std::sync::Arc<Process>| self.is_binder(process);
        is_scarce(self, pair.netns) && pair.process.as_ref().is_some_and(is_binder)
    }
}

/// Whether a pool of bind() has a finding in a namespace.
pub fn is_scarce(facts: &DoctorFacts, netns: u32) -> bool {
    scarce(facts, netns).next().is_some()
}

/// Pools of bind() in a namespace that have findings.
fn scarce(facts: &DoctorFacts, netns: u32) -> impl Iterator<Item = &BudgetRow> {
    facts.report.budgets.iter().filter(move |row| {
        row.netns == netns && row.pool == PoolWord::Bind && budget::severity(row).is_some()
    })
}

/// Whether a pool of connect() lacks ports only since sockets of bind() have them. A pool of bind() that is scarce is
/// the finding then, and this one its effect.
pub fn is_effect(facts: &DoctorFacts, row: &BudgetRow) -> bool {
    if row.pool != PoolWord::Connect || row.failures > 0 {
        return false;
    }
    let mut pools = scarce(facts, row.netns);
    is_nobodys(row) || is_roomy(row) && pools.any(|pool| shares_ports(pool, row.source))
}

/// Whether connect() has allocated none of its ports: all its sockets were bound before they connected.
pub fn is_nobodys(row: &BudgetRow) -> bool {
    row.pool == PoolWord::Connect
        && row.failures == 0
        && row.live == Some(0)
        && row.time_wait == Some(0)
}

/// The same pools, of one that is scarce.
pub fn effects(facts: &DoctorFacts, pool: &BudgetRow) -> usize {
    let of_netns = facts
        .report
        .budgets
        .iter()
        .filter(|row| row.netns == pool.netns && shares_ports(pool, row.source));
    let bad = of_netns.filter(|row| budget::severity(row).is_some());
    bad.filter(|row| is_effect(facts, row)).count()
}

/// Whether its own sockets hold less than half of the range.
fn is_roomy(row: &BudgetRow) -> bool {
    let held = u64::from(row.live.unwrap_or(0)) + u64::from(row.time_wait.unwrap_or(0));
    row.range.is_some_and(|range| held * 2 < range.count())
}

fn shares_ports(pool: &BudgetRow, source: Option<IpAddr>) -> bool {
    match (pool.source, source) {
        (Some(of_pool), Some(source)) => of_pool == source || of_pool.is_unspecified(),
        _ => true,
    }
}

/// Who has ports of the range by bind(), in a sentence: if these are at least as many as the pool's own sockets hold.
pub fn owners(facts: &DoctorFacts, row: &BudgetRow) -> Option<String> {
    if row.pool == PoolWord::Bind {
        return None;
    }
    let by = budget::bound_by(row);
    // A pool whose source is not known has no figures.
    let count = of_bind(facts, row).unwrap_or_else(|| by.iter().map(|(_, count)| count).sum());
    let held = u64::from(row.live.unwrap_or(0)) + u64::from(row.time_wait.unwrap_or(0));
    (count > 0 && count >= held).then(|| {
        format!(
            "{count} ports of the range belong to bind(), on any address, and connect() skips them{}",
            if by.is_empty() {
                String::new()
            } else {
                format!("; those of open sockets, by process: {}", advice::list(&by))
            }
        )
    })
}

/// Number of ports of the range that sockets of bind() have, if it is known.
pub fn of_bind(facts: &DoctorFacts, row: &BudgetRow) -> Option<u64> {
    let range = row.range?;
    let reserved = &facts.state(row.netns)?.ports.reserved;
    let reserved = reserved.iter().filter(|port| range.contains(*port)).count() as u64;
    Some(u64::from(row.excluded?).saturating_sub(reserved))
}
