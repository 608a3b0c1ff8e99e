//! Rows of destinations, those of budgets among them.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use twtrace_core::filter::Filter;
use twtrace_core::model::budget::row::{BudgetRow, PoolWord};
use twtrace_core::model::destination::Destination;
use twtrace_core::model::report::Report;
use twtrace_wire::{ProcessKey, Side};

use super::super::live::LiveState;
use super::super::sort::{ByDestination, SortOrder};
use super::super::towards::{Dealt, DestinationKey};
use super::{DestinationItem, Scope, turned};

/// A destination.
#[derive(Clone, Debug)]
pub struct DestinationLine {
    pub target: DestinationItem,
    /// TIME_WAITs per second; `None` before the second sample.
    pub rate: Option<f64>,
    /// TIME_WAITs created.
    pub time_waits: u64,
    /// RSTs, sent or received.
    pub resets: u64,
    /// Port allocations that failed.
    pub failures: u64,
    /// Index of its port pool in the report; the fullest, if there are several sources.
    pub budget: Option<usize>,
}

pub(super) fn destination_lines(
    live: &LiveState,
    report: &Report,
    scope: Scope,
    filter: &Filter,
) -> Vec<DestinationLine> {
    let mut budgets = OpenBudgets::of(report);
    let mut lines: Vec<DestinationLine> = match scope {
        Scope::Process(process) => live
            .towards
            .iter()
            .filter(|(key, ..)| *key == process)
            .map(|(_, key, dealt)| of_process(key, &dealt, budgets.of_destination(&key)))
            .collect(),
        Scope::Command(comm) => {
            let rows = report.processes.iter();
            let members: HashSet<ProcessKey> = rows
                .filter(|row| row.process.as_ref().is_some_and(|it| it.comm == comm))
                .filter(|row| filter.shows_process(row.process.as_ref()))
                .map(|row| row.key())
                .collect();
            let mut sums: HashMap<DestinationKey, Dealt> = HashMap::new();
            for (process, key, dealt) in live.towards.iter() {
                if members.contains(&process) {
                    sums.entry(key).or_default().add(&dealt);
                }
            }
            sums.into_iter()
                .map(|(key, dealt)| of_process(key, &dealt, budgets.of_destination(&key)))
                .collect()
        }
        _ => report
            .destinations
            .iter()
            .map(|row| {
                let key = DestinationKey::of(row);
                let deaths = &row.deaths;
                DestinationLine {
                    target: DestinationItem::Destination(key),
                    rate: live.destination_rates.get(&key).copied(),
                    time_waits: row.time_wait,
                    resets: deaths.reset_sent.total() + deaths.reset_received.total(),
                    failures: row.port_failures,
                    budget: budgets.of_destination(&key),
                }
            })
            .collect(),
    };
    if !matches!(scope, Scope::Process(_) | Scope::Command(_)) {
        lines.extend(budgets.rest(&report.budgets));
    }
    lines.retain(|line| line.target.passes(filter));
    lines
}

fn of_process(key: DestinationKey, dealt: &Dealt, budget: Option<usize>) -> DestinationLine {
    DestinationLine {
        target: DestinationItem::Destination(key),
        rate: Some(dealt.rate),
        time_waits: dealt.time_waits,
        resets: dealt.resets,
        failures: dealt.failures,
        budget,
    }
}

/// OpenBudgets by destination; those that no destination took are rows of their own.
struct OpenBudgets {
    /// The first pool of each destination: reports have the fullest first.
    by_destination: HashMap<(u32, SocketAddr), usize>,
    /// How many earlier namespaces had the number of the last one.
    last_nth: HashMap<u32, u32>,
    taken: HashSet<usize>,
}

impl OpenBudgets {
    fn of(report: &Report) -> Self {
        let mut last_nth: HashMap<u32, u32> = HashMap::new();
        for row in &report.destinations {
            if let Some(netns) = row.netns {
                let last = last_nth.entry(netns).or_default();
                *last = row.netns_nth.max(*last);
            }
        }
        let mut by_destination = HashMap::new();
        for (index, row) in report.budgets.iter().enumerate() {
            if let Some(destination) = row.destination {
                by_destination
                    .entry((row.netns, destination))
                    .or_insert(index);
            }
        }
        Self {
            by_destination,
            last_nth,
            taken: HashSet::new(),
        }
    }

    fn of_destination(&mut self, key: &DestinationKey) -> Option<usize> {
        let (Some(netns), Side::Client, Destination::Remote(remote)) =
            (key.netns, key.side, key.destination)
        else {
            return None;
        };
        // A pool is that of the last namespace with this number.
        if key.netns_nth != self.last_nth.get(&netns).copied().unwrap_or(0) {
            return None;
        }
        let index = *self.by_destination.get(&(netns, remote))?;
        self.taken.insert(index);
        Some(index)
    }

    fn rest(&self, rows: &[BudgetRow]) -> Vec<DestinationLine> {
        let first = |index: usize, row: &BudgetRow| {
            row.destination
                .is_none_or(|to| self.by_destination.get(&(row.netns, to)) == Some(&index))
        };
        rows.iter()
            .enumerate()
            .filter(|(index, row)| !self.taken.contains(index) && first(*index, row))
            .map(|(index, row)| DestinationLine {
                target: match (row.pool, row.destination) {
                    (PoolWord::Connect, Some(destination)) => {
                        DestinationItem::Destination(DestinationKey {
                            netns: Some(row.netns),
                            netns_nth: self.last_nth.get(&row.netns).copied().unwrap_or(0),
                            side: Side::Client,
                            destination: Destination::Remote(destination),
                        })
                    }
                    _ => DestinationItem::Pool {
                        netns: row.netns,
                        source: row.source,
                    },
                },
                rate: None,
                time_waits: 0,
                resets: 0,
                failures: row.failures,
                budget: Some(index),
            })
            .collect()
    }
}

pub(super) fn sort_destinations(
    lines: &mut [DestinationLine],
    budgets: &[BudgetRow],
    order: SortOrder<ByDestination>,
) {
    let budget = |line: &DestinationLine| line.budget.and_then(|index| budgets.get(index));
    let number = |line: &DestinationLine| match order.by {
        ByDestination::Rate => line.rate.unwrap_or(0.0),
        ByDestination::TimeWaits => line.time_waits as f64,
        ByDestination::Resets => line.resets as f64,
        ByDestination::Used => budget(line).and_then(BudgetRow::used).unwrap_or(-1.0),
        // The soonest first.
        ByDestination::Left => budget(line)
            .and_then(|row| row.full_in_ns)
            .map_or(f64::MIN, |ns| -(ns as f64)),
        ByDestination::Failures => line.failures as f64,
        ByDestination::Name => 0.0,
    };
    let name = |line: &DestinationLine| match line.target {
        DestinationItem::Destination(key) => (
            Some(key.destination),
            key.netns,
            (key.netns_nth, key.side as u32),
            None,
        ),
        DestinationItem::Pool { netns, source } => (None, Some(netns), (0, 0), source),
    };
    lines.sort_by(|a, b| {
        let ordering = match order.by {
            ByDestination::Name => Ordering::Equal,
            _ => number(b).total_cmp(&number(a)),
        };
        turned(ordering, order.is_reversed)
            .then_with(|| match order.by {
                ByDestination::Name => Ordering::Equal,
                _ => b.time_waits.cmp(&a.time_waits),
            })
            .then_with(|| {
                let is_turned = order.by == ByDestination::Name && order.is_reversed;
                turned(name(a).cmp(&name(b)), is_turned)
            })
    });
}
