//! Port pools of bind(): who allocates from them, and what else they leave without ports.

use std::collections::BTreeMap;
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
/// Fraction of the range that sockets of bind() have, from which it is reported.
const MOST: f64 = 0.8;

impl DoctorFacts {
    /// Whether a process binds before it connects, as far as its calls show.
    pub fn is_binder(&self, process: &Process) -> bool {
        self.row_of(process).is_some_and(|row| {
            let of_bind = row.ports.iter().filter(|port| port.op == PortOp::Bind);
            let binds: u64 = of_bind.map(|port| port.count).sum();
            binds > 0 && binds as f64 >= row.counts.time_wait.of(Side::Client) as f64 * PART
        })
    }

    /// Whether a pair's connections have their ports from a pool of bind() that is full, or nearly.
    pub fn is_of_scarce_bind(&self, pair: &PairRow) -> bool {
        let is_binder = |process: &std::sync::Arc<Process>| self.is_binder(process);
        self.has_scarce_bind(pair.netns) && pair.process.as_ref().is_some_and(is_binder)
    }

    /// Whether a pool of bind() has a finding in a namespace.
    pub fn has_scarce_bind(&self, netns: u32) -> bool {
        !self.scarce_binds(netns).is_empty()
    }

    /// The pools of bind() in a namespace that have findings, by their numbers in the report.
    fn scarce_binds(&self, netns: u32) -> &[usize] {
        let by_netns = self.scarce_binds.get_or_init(|| {
            let mut by_netns: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (number, row) in self.report.budgets.iter().enumerate() {
                if row.pool == PoolWord::Bind && budget::severity(row).is_some() {
                    by_netns.entry(row.netns).or_default().push(number);
                }
            }
            by_netns
        });
        by_netns.get(&netns).map_or(&[], Vec::as_slice)
    }
}

/// Whether a pool of bind() that is scarce has ports of a source address.
fn is_scarce(facts: &DoctorFacts, netns: u32, source: Option<IpAddr>) -> bool {
    let mut numbers = facts.scarce_binds(netns).iter();
    numbers.any(|number| shares_ports(&facts.report.budgets[*number], source))
}

/// Whether a pool of connect() lacks ports only since sockets of bind() have them. A pool of bind() that is scarce is
/// the finding then, and this one its effect.
pub fn is_effect(facts: &DoctorFacts, row: &BudgetRow) -> bool {
    if row.pool != PoolWord::Connect || row.failures > 0 {
        return false;
    }
    let is_scarce = || is_scarce(facts, row.netns, row.source);
    if is_nobodys(row) {
        // Else nothing would be said of a connect() that can't get any port.
        row.capacity != Some(0) || has_most(facts, row) || is_scarce()
    } else {
        is_roomy(row) && is_scarce()
    }
}

/// Whether sockets of bind() have most of the namespace's range, which is a finding of its own.
pub fn has_most(facts: &DoctorFacts, row: &BudgetRow) -> bool {
    let range = row.range.filter(|_| !row.socket_range);
    let most = range.zip(of_bind(facts, row));
    most.is_some_and(|(range, count)| count as f64 > range.count() as f64 * MOST)
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
