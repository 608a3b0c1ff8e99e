//! What was seen of the kernel when it was looked at last: gauges, of as many things as there is room for.

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

/// The latest of each.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Budgets of local ports, the fullest first.
    pub budgets: Budgets,
    /// Connections that the peer has closed, by who holds them; `None` before the first look.
    pub close_wait: Option<Vec<Holding>>,
    /// The kernel's caches.
    pub caches: Vec<CacheRow>,
    /// Births that were traced against those that the kernel counted.
    pub audit: Audit,
    /// TIME_WAITs and limits, by namespace, those with the most first.
    pub namespaces: Vec<NamespaceRow>,
    /// Names of namespaces.
    pub names: Vec<NetnsName>,
    /// TIME_WAITs of all namespaces that the filter shows; `None` where none could be looked into.
    pub time_waits: Option<u64>,
    /// Namespaces that could not be looked into.
    pub unseen_namespaces: u64,
}

/// Connections in CLOSE_WAIT of one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Who.
    pub holder: Holder,
    /// How many.
    pub count: u64,
    /// How long the oldest has been so at least, nanoseconds.
    pub oldest_ns: Option<u64>,
}

/// Who holds connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// Processes.
    Owner(Owner),
    /// Nobody.
    Nobody(NoHolder),
    /// Those there is no room for.
    Others,
}

/// The audit of every namespace.
#[derive(Debug, Default)]
pub struct Audit {
    /// Namespaces in which something happened, those with the largest difference first.
    pub rows: Vec<AuditRow>,
    /// How many were audited.
    pub audited: u64,
    /// How many could not be.
    pub unaudited: u64,
    /// In how many a figure differs from the kernel's by more than the uncertainty of reading.
    pub off: u64,
    /// Differences of all audited ones, signs left out.
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
    /// Takes budgets, as many as there is room for.
    pub fn budgets(&mut self, budgets: Budgets, limits: SeriesLimits) {
        self.budgets = budgets;
        self.budgets.rows.truncate(limits.max_destinations);
        self.budgets.rows.shrink_to_fit();
        self.budgets.unknown.truncate(limits.max_destinations);
    }

    /// Takes connections in CLOSE_WAIT.
    pub fn close_wait(&mut self, seen: &CloseWait, filter: &Filter, limits: SeriesLimits) {
        let mut sums: HashMap<Holder, Holding> = HashMap::new();
        for row in close_wait::rows(&seen.connections, filter, |_| None) {
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
        // Of namespaces that had the same number the last one: the others are gone.
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
