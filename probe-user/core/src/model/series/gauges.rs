//! Gauges of the last sample of the kernel's state, for as many objects as there is room for.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::SeriesLimits;
use super::owner::Owner;
use crate::event::answerable::Answerable;
use crate::filter::Filter;
use crate::model::audit::{AuditRow, count_off};
use crate::model::budget::ledger::Budgets;
use crate::model::close_wait::{self, NoHolder};
use crate::model::memory::CacheRow;
use crate::model::namespace::{Conntrack, NamespaceSamples};
use crate::model::netns_name::NetnsName;
use crate::model::observation::CloseWait;

/// The latest sample of each kind.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Port pools, the fullest first.
    pub budgets: Budgets,
    /// Connections that the peer has closed, by holder; `None` before the first sample.
    pub close_wait: Option<Vec<Holding>>,
    /// The kernel's caches.
    pub caches: Vec<CacheRow>,
    /// What was traced, compared with what the kernel counted.
    pub audit: Audit,
    /// TIME_WAITs and limits, by namespace, those with the most first.
    pub namespaces: Vec<NamespaceRow>,
    /// Names of namespaces.
    pub names: Vec<NetnsName>,
    /// TIME_WAITs of all namespaces that the filter shows; `None` if none could be sampled.
    pub time_waits: Option<u64>,
    /// Number of namespaces that could not be sampled.
    pub unseen_namespaces: u64,
}

/// Connections in CLOSE_WAIT of one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The holder.
    pub holder: Holder,
    /// Number of connections.
    pub count: u64,
    /// Minimum time that the oldest has been in this state, nanoseconds.
    pub oldest_ns: Option<u64>,
}

/// Holder of connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// Processes.
    Owner(Owner),
    /// No process, with the reason.
    Nobody(NoHolder),
    /// Holders beyond the limit.
    Others,
}

/// The audit of every namespace.
#[derive(Debug, Default)]
pub struct Audit {
    /// Namespaces with events, those with the largest difference first.
    pub rows: Vec<AuditRow>,
    /// Number of audited namespaces.
    pub audited: u64,
    /// Number of namespaces that could not be audited.
    pub unaudited: u64,
    /// Number of namespaces in which a figure differs from the kernel's by more than the uncertainty of reading.
    pub off: u64,
    /// Sum of the absolute differences of all audited ones.
    pub difference: u64,
}

/// One namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceRow {
    /// Its inode number.
    pub netns: u32,
    /// Mini-sockets alive.
    pub time_waits: Option<u64>,
    /// `tcp_max_tw_buckets`.
    pub max_tw_buckets: Option<u64>,
    /// Connection tracking.
    pub conntrack: Option<Conntrack>,
}

impl Gauges {
    /// Takes port pools, as many as there is room for.
    pub fn budgets(&mut self, budgets: Budgets, limits: SeriesLimits) {
        self.budgets = budgets;
        self.budgets.rows.truncate(limits.max_destinations);
        self.budgets.rows.shrink_to_fit();
        self.budgets.unknown.truncate(limits.max_destinations);
    }

    /// Takes connections in CLOSE_WAIT.
    pub fn close_wait(&mut self, seen: &CloseWait, filter: &Filter, limits: SeriesLimits) {
        let mut sums: HashMap<Holder, Holding> = HashMap::new();
        for row in close_wait::rows(&seen.connections, None, filter, |_| None) {
            let holder = match row.answerable() {
                Answerable::Process(process) => Holder::Owner(Owner::of(process)),
                Answerable::Nobody(why) => Holder::Nobody(why),
                Answerable::Unknown => Holder::Nobody(NoHolder::Unknown),
            };
            let sum = sums.entry(holder.clone()).or_insert(Holding {
                holder,
                count: 0,
                oldest_ns: None,
            });
            sum.count += row.count;
            sum.oldest_ns = sum.oldest_ns.max(row.oldest_ns);
        }
        let mut rows: Vec<Holding> = sums.into_values().collect();
        rows.sort_by(|a, b| (b.count, &a.holder).cmp(&(a.count, &b.holder)));
        let others = rows.split_off(rows.len().min(limits.max_processes));
        if !others.is_empty() {
            rows.push(Holding {
                holder: Holder::Others,
                count: others.iter().map(|row| row.count).sum(),
                oldest_ns: others.iter().filter_map(|row| row.oldest_ns).max(),
            });
        }
        self.close_wait = Some(rows);
    }

    /// Takes an audit.
    pub fn audit(&mut self, rows: &[AuditRow], limits: SeriesLimits) {
        let difference = |row: &AuditRow| {
            let audited = row.difference.filter(|_| row.audited);
            audited.map_or(0, i64::unsigned_abs)
        };
        let audited = rows.iter().filter(|row| row.audited).count() as u64;
        // If several namespaces had the same number, only the last one: the others no longer exist.
        let mut last: HashMap<u32, u32> = HashMap::new();
        for row in rows {
            let last = last.entry(row.netns).or_default();
            *last = (*last).max(row.netns_nth);
        }
        let is_shown =
            |row: &&AuditRow| !row.is_quiet() && last.get(&row.netns) == Some(&row.netns_nth);
        let mut shown: Vec<AuditRow> = rows.iter().filter(is_shown).cloned().collect();
        shown.sort_by_key(|row| (Reverse((difference(row), row.births_seen)), row.netns));
        shown.truncate(limits.max_destinations);
        self.audit = Audit {
            rows: shown,
            audited,
            unaudited: rows.len() as u64 - audited,
            off: count_off(rows),
            difference: rows.iter().map(difference).sum(),
        };
    }

    /// Takes settings and counters.
    pub fn namespaces(
        &mut self,
        samples: &NamespaceSamples,
        filter: &Filter,
        limits: SeriesLimits,
    ) {
        let shown = samples
            .iter()
            .filter(|(netns, _)| filter.shows_netns(**netns));
        let mut rows = Vec::new();
        self.unseen_namespaces = 0;
        for (netns, sample) in shown {
            match &sample.state {
                Ok(state) => rows.push(NamespaceRow {
                    netns: *netns,
                    time_waits: state.time_waits,
                    max_tw_buckets: state.max_tw_buckets,
                    conntrack: state.conntrack,
                }),
                Err(_) => self.unseen_namespaces += 1,
            }
        }
        let known = rows.iter().filter_map(|row| row.time_waits);
        self.time_waits = known.reduce(u64::saturating_add);
        rows.sort_by_key(|row| (Reverse(row.time_waits), row.netns));
        rows.truncate(limits.max_destinations);
        self.namespaces = rows;
    }
}
