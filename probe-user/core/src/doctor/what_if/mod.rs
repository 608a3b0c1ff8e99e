//! `doctor --what-if`: what the port pools would hold with other settings, or with another load.
//!
//! The load is what was measured: how many connections a second each pool is asked for, and how many are open. In the
//! long run a pool then holds `open + rate × hold`, where a port is held for the length of a TIME_WAIT, or until its
//! TIME_WAIT may be reused. Whether and when the ports run out is forecast as for budgets, from what they hold now.

pub mod supposed;

use std::collections::BTreeMap;

use serde::Serialize;

use self::supposed::Supposed;
use super::budget;
use super::facts::DoctorFacts;
use crate::event::quantity;
use crate::event::timestamp::SECOND_NS;
use crate::model::budget::forecast::{Pace, PoolState, forecast};
use crate::model::budget::row::{BudgetRow, Outlook, PoolWord};
use crate::model::budget::sysctls::PortSysctls;

/// The answer.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Serialize)]
pub struct WhatIf {
    /// What is supposed, as on the command line.
    pub supposed: String,
    /// Pools whose load is known, in the order of reports: the fullest first.
    pub pools: Vec<WhatIfPool>,
    /// Number of pools whose load or settings are not known.
    pub unknown: u64,
}

/// One port pool.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Serialize)]
pub struct WhatIfPool {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Its name, or its number if it has none.
    #[serde(skip)]
    pub namespace: String,
    /// The pool in words: source and destination.
    pub pool: String,
    /// Ports asked for per second, with those that failed.
    pub connections_per_s: f64,
    /// As it is.
    pub now: PoolForecast,
    /// As supposed.
    pub then: PoolForecast,
    /// What has no effect on this pool, and what the figures rest on, in sentences.
    pub notes: Vec<String>,
}

/// A pool under a load that lasts.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PoolForecast {
    /// Ports that an allocation can use.
    pub capacity: u64,
    /// Ports that live sockets and blocking TIME_WAITs hold in the long run; `capacity` if they run out.
    pub held: u64,
    /// Ports asked for per second.
    pub connections_per_s: f64,
    /// Maximum of that, in the long run.
    pub max_connections_per_s: f64,
    /// Whether they run out.
    pub outlook: Outlook,
    /// When: nanoseconds from the end of the measurement; 0 if none is free.
    pub full_in_ns: Option<u64>,
}

/// Computes it for each pool.
pub fn what_if(facts: &DoctorFacts, supposed: &Supposed) -> WhatIf {
    let namespaces: BTreeMap<u32, Settings> = facts
        .namespaces
        .iter()
        .map(|(netns, facts)| (*netns, Settings::of(&facts.now.ports, supposed)))
        .collect();
    let rows = &facts.report.budgets;
    let pools: Vec<WhatIfPool> = rows
        .iter()
        .filter_map(|row| pool(facts, row, namespaces.get(&row.netns)?, supposed))
        .collect();
    WhatIf {
        supposed: supposed.to_string(),
        unknown: (rows.len() - pools.len()) as u64,
        pools,
    }
}

/// The settings of a namespace, which may have very many pools.
struct Settings<'a> {
    now: &'a PortSysctls,
    then: PortSysctls,
    /// Ports of the range that are not reserved, now and then.
    unreserved: [u64; 2],
}

impl<'a> Settings<'a> {
    fn of(now: &'a PortSysctls, supposed: &Supposed) -> Self {
        let then = PortSysctls {
            range: supposed.range.unwrap_or(now.range),
            tw_reuse: supposed.tw_reuse.unwrap_or(now.tw_reuse),
            tw_timeout: supposed.tw_timeout.or(now.tw_timeout),
            ..now.clone()
        };
        let unreserved = [now, &then].map(|sysctls| {
            let ports = sysctls.range.ports();
            let unreserved = ports.filter(|port| !sysctls.reserved.contains(*port));
            unreserved.count() as u64
        });
        Self {
            now,
            then,
            unreserved,
        }
    }

    /// Ports of a pool that an allocation could use then. Those that bind() has are assumed to be spread over the range as
    /// they are.
    fn capacity(&self, row: &BudgetRow, now: u64) -> u64 {
        if row.socket_range || self.then.range == self.now.range {
            return now;
        }
        let [old, new] = self.unreserved;
        let bound = old.saturating_sub(now);
        // A larger range has no more of them, as far as known.
        let bound = if new < old {
            bound * new / old.max(1)
        } else {
            bound
        };
        new.saturating_sub(bound)
    }

    /// The part of the ports of now that the new range has.
    fn kept_ports(&self, row: &BudgetRow) -> f64 {
        if row.socket_range {
            return 1.0;
        }
        let (old, new) = (self.now.range, self.then.range);
        let (low, high) = (old.low.max(new.low), old.high.min(new.high));
        if low > high {
            return 0.0;
        }
        (f64::from(high - low) + 1.0) / old.count() as f64
    }
}

fn pool(
    facts: &DoctorFacts,
    row: &BudgetRow,
    settings: &Settings,
    supposed: &Supposed,
) -> Option<WhatIfPool> {
    let failures_per_s = row.failures as f64 / facts.seconds();
    let load = Load {
        asked_per_s: row.connections_per_s? + failures_per_s,
        growth_per_s: row.live_growth_per_s?.max(0.0),
        live: f64::from(row.live?),
        time_waits: f64::from(row.time_wait?),
    };
    let capacity = u64::from(row.capacity?);
    // Budgets know when each TIME_WAIT ends.
    let outlook = (row.outlook, row.full_in_ns);
    Some(WhatIfPool {
        netns: row.netns,
        namespace: facts.name(row.netns),
        pool: budget::towards(row),
        connections_per_s: load.asked_per_s,
        now: load.in_the_long_run(capacity, hold_ns(row, settings.now), outlook),
        then: load.then(row, settings, settings.capacity(row, capacity), supposed),
        notes: notes(row, settings, supposed, failures_per_s),
    })
}

/// What was measured of a pool, or what it would have of that.
struct Load {
    asked_per_s: f64,
    growth_per_s: f64,
    live: f64,
    time_waits: f64,
}

impl Load {
    fn in_the_long_run(
        &self,
        capacity: u64,
        hold_ns: u64,
        (outlook, full_in_ns): (Outlook, Option<u64>),
    ) -> PoolForecast {
        let hold_s = hold_ns as f64 / SECOND_NS as f64;
        let held = (self.live + self.asked_per_s * hold_s).round() as u64;
        PoolForecast {
            capacity,
            held: held.min(capacity),
            connections_per_s: self.asked_per_s,
            max_connections_per_s: ((capacity as f64 - self.live) / hold_s).max(0.0),
            outlook,
            full_in_ns,
        }
    }

    fn then(
        &self,
        row: &BudgetRow,
        settings: &Settings,
        capacity: u64,
        supposed: &Supposed,
    ) -> PoolForecast {
        // One pool of bind() serves all destinations.
        let spread = match (row.pool, supposed.destinations) {
            (PoolWord::Connect, Some(count)) => f64::from(count),
            _ => 1.0,
        };
        let opened = 1.0 - supposed.keepalive.unwrap_or(0.0);
        let then = Self {
            asked_per_s: self.asked_per_s * opened / spread,
            growth_per_s: self.growth_per_s * opened / spread,
            live: self.live / spread,
            time_waits: self.time_waits / spread,
        };
        let hold_ns = hold_ns(row, &settings.then);
        let state = PoolState {
            capacity,
            live: then.live.round() as u64,
            given_back_ns: &self.given_back_ns(row, settings, spread),
        };
        let pace = Pace {
            taken_per_s: then.asked_per_s,
            kept_per_s: then.growth_per_s.min(then.asked_per_s),
            hold_ns,
        };
        then.in_the_long_run(capacity, hold_ns, forecast(&state, &pace).outlook())
    }

    /// When the TIME_WAITs of now no longer block an allocation, nanoseconds from now, one after the other. Where some ended
    /// in the window, those that are left are of all ages; else they are as old as the rate of now explains. A TIME_WAIT
    /// keeps the length that it was created with.
    fn given_back_ns(&self, row: &BudgetRow, settings: &Settings, spread: f64) -> Vec<u64> {
        let lifetime_ns = settings.now.time_wait_ns() as f64;
        let per_s = self.asked_per_s.max(f64::MIN_POSITIVE);
        let made_per_s = row.connections_per_s.unwrap_or(0.0).max(f64::MIN_POSITIVE);
        let oldest_ns = if row.expiry_per_s.is_some_and(|per_s| per_s > 0.0) {
            lifetime_ns
        } else {
            (self.time_waits / made_per_s * SECOND_NS as f64).min(lifetime_ns)
        };
        let (count, all_after_ns, none_before_ns) = if is_reused(row, &settings.then) {
            let delay_ns = settings.then.reuse_delay_ns as f64;
            let young = (per_s * delay_ns / SECOND_NS as f64).min(self.time_waits);
            (young, delay_ns, (delay_ns - oldest_ns).max(0.0))
        } else {
            (self.time_waits, lifetime_ns, lifetime_ns - oldest_ns)
        };
        let count = (count * settings.kept_ports(row) / spread).round() as u64;
        let step_ns = (all_after_ns - none_before_ns) / count.max(1) as f64;
        (1..=count)
            .map(|number| (none_before_ns + number as f64 * step_ns) as u64)
            .collect()
    }
}

fn is_reused(row: &BudgetRow, sysctls: &PortSysctls) -> bool {
    match (row.pool, row.source, row.destination) {
        (PoolWord::Connect, Some(source), Some(destination)) => sysctls.reuses(source, destination),
        _ => false,
    }
}

/// How long a port is held after its connection.
fn hold_ns(row: &BudgetRow, sysctls: &PortSysctls) -> u64 {
    if is_reused(row, sysctls) {
        sysctls.reuse_delay_ns.max(1)
    } else {
        sysctls.time_wait_ns()
    }
}

fn notes(
    row: &BudgetRow,
    settings: &Settings,
    supposed: &Supposed,
    failures_per_s: f64,
) -> Vec<String> {
    let mut notes = Vec::new();
    let Settings { now, then, .. } = settings;
    if supposed.tw_reuse.is_some() {
        let is_connect = row.pool == PoolWord::Connect;
        match (is_connect, is_reused(row, now), is_reused(row, then)) {
            (false, ..) => {
                notes.push("tcp_tw_reuse has no effect on ports that bind() chooses".to_owned());
            }
            (true, false, true) => {
                notes.push("if the peer uses TCP timestamps, which reuse needs".to_owned());
            }
            (true, before, after) if before == after => notes.push(
                if then.timestamps {
                    "this tcp_tw_reuse has no effect here"
                } else {
                    "tcp_tw_reuse has no effect: tcp_timestamps is off"
                }
                .to_owned(),
            ),
            _ => {}
        }
    }
    if supposed.range.is_some() && row.socket_range {
        notes.push("its sockets have a range of their own (IP_LOCAL_PORT_RANGE)".to_owned());
    }
    if supposed.destinations.is_some() && row.pool == PoolWord::Bind {
        notes.push("more destinations have no effect on ports that bind() chooses".to_owned());
    }
    if failures_per_s > 0.0 {
        notes.push(format!(
            "the rates count {} failed allocations a second of now, which may be repetitions",
            quantity::rate(failures_per_s)
        ));
    }
    notes
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
