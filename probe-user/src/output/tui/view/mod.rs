//! Rows in their order: what is in scope and passes the filter. Made anew with each sample, not for each
//! drawing.

mod destinations;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use twtrace_core::event::{Event, EventFacts};
use twtrace_core::filter::Filter;
use twtrace_core::model::destination::Destination;
use twtrace_core::model::report::Report;
use twtrace_wire::{ProcessKey, Side};

pub use destinations::DestinationLine;
use destinations::{destination_lines, sort_destinations};

use super::live::LiveState;
use super::rates::{Rates, Totals};
use super::sort::{ByDestination, ByProcess, SortOrder};
use super::towards::{DestinationKey, destination_of};

/// What the view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole host.
    All,
    /// One process.
    Process(ProcessKey),
    /// One destination.
    Destination(DestinationItem),
}

/// A row of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DestinationItem {
    /// A destination.
    Destination(DestinationKey),
    /// Ports of a source address that all destinations share (bind before connect).
    Pool {
        /// Inode number of the network namespace.
        netns: u32,
        /// The source address.
        source: Option<IpAddr>,
    },
}

/// A process.
#[derive(Clone, Debug)]
pub struct ProcessLine {
    pub key: ProcessKey,
    /// Its row of the report.
    pub row: usize,
    /// `None` before the second sample.
    pub rates: Option<Rates>,
    /// TIME_WAITs created that have not ended.
    pub alive: u64,
    /// The highest of its operations' 99th percentiles, nanoseconds, and whether it is exact.
    pub p99: Option<(u64, bool)>,
    /// Port allocations that failed.
    pub failures: u64,
}

/// Rows of the tables.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By process.
    pub processes: Vec<ProcessLine>,
    /// By destination.
    pub destinations: Vec<DestinationLine>,
}

impl Scope {
    /// Whether an event is in this scope.
    pub fn has(&self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::Process(key) => {
                let by = match &event.facts {
                    EventFacts::TimeWaitEnd(facts) => facts.by.as_ref(),
                    _ => None,
                };
                event.answerable().key() == *key
                    || [event.opener.as_ref(), by]
                        .into_iter()
                        .flatten()
                        .any(|process| process.key == *key)
            }
            Self::Destination(DestinationItem::Destination(key)) => destination_of(event) == *key,
            Self::Destination(DestinationItem::Pool { netns, source }) => {
                event.netns == Some(*netns)
                    && event.side != Side::Server
                    && source.is_none_or(|source| {
                        source.is_unspecified()
                            || event.local.is_some_and(|local| local.ip() == source)
                    })
            }
        }
    }
}

impl DestinationItem {
    /// Whether events with a destination are in this scope.
    fn has(&self, key: &DestinationKey) -> bool {
        match self {
            Self::Destination(own) => own == key,
            Self::Pool { netns, .. } => key.0 == Some(*netns) && key.1 != Side::Server,
        }
    }

    /// Whether the filter accepts it, as far as that is known.
    fn passes(&self, filter: &Filter) -> bool {
        let has = |netns: Option<u32>, side: Side| {
            (filter.netns.is_empty() || netns.is_some_and(|netns| filter.shows_netns(netns)))
                && (filter.sides.is_empty() || filter.sides.contains(&side))
        };
        match self {
            Self::Destination((netns, side, destination)) => {
                let (local, remote) = ends(destination);
                has(*netns, *side)
                    && (filter.local.is_empty() || local.is_none() || filter.shows_local(local))
                    && filter.shows_remote(remote)
            }
            Self::Pool { netns, source } => {
                has(Some(*netns), Side::Client)
                    && filter.shows_local(source.map(|source| (source, 0).into()))
                    && filter.remote.is_empty()
            }
        }
    }
}

/// The addresses that a destination contains, local and remote.
fn ends(destination: &Destination) -> (Option<SocketAddr>, Option<SocketAddr>) {
    match destination {
        Destination::Remote(remote) => (None, Some(*remote)),
        Destination::LocalPort(port) => (Some((Ipv4Addr::UNSPECIFIED, *port).into()), None),
        Destination::Peer(address) => (None, Some((*address, 0).into())),
        Destination::Unknown | Destination::Others => (None, None),
    }
}

impl View {
    /// The rows of the current state.
    pub fn of(
        live: &LiveState,
        scope: Scope,
        filter: &Filter,
        by_process: SortOrder<ByProcess>,
        by_destination: SortOrder<ByDestination>,
    ) -> Self {
        let Some(sample) = &live.sample else {
            return Self::default();
        };
        let report = &sample.report;
        let mut processes = process_lines(live, report, scope, filter);
        sort_processes(&mut processes, report, by_process);
        let mut destinations = destination_lines(live, report, scope, filter);
        sort_destinations(&mut destinations, &report.budgets, by_destination);
        Self {
            processes,
            destinations,
        }
    }
}

fn process_lines(
    live: &LiveState,
    report: &Report,
    scope: Scope,
    filter: &Filter,
) -> Vec<ProcessLine> {
    // Reports do not have the destinations of a process, so these come from events.
    let is_by_destination = !filter.is_by_process();
    let pair: Option<HashSet<ProcessKey>> = match scope {
        Scope::Destination(target) => Some(
            live.towards
                .iter()
                .filter(|(_, key, _)| target.has(key))
                .map(|(process, ..)| process)
                .collect(),
        ),
        _ if is_by_destination => Some(
            live.towards
                .iter()
                .filter(|(_, key, _)| DestinationItem::Destination(*key).passes(filter))
                .map(|(process, ..)| process)
                .collect(),
        ),
        _ => None,
    };
    report
        .processes
        .iter()
        .enumerate()
        .filter(|(_, row)| filter.shows_process(row.process.as_ref()))
        .filter(|(_, row)| pair.as_ref().is_none_or(|pair| pair.contains(&row.key())))
        .map(|(index, row)| ProcessLine {
            key: row.key(),
            row: index,
            rates: live.process_rates.get(&row.key()).copied(),
            alive: row
                .counts
                .time_wait
                .total()
                .saturating_sub(row.counts.ended.total()),
            p99: row
                .ports
                .iter()
                .filter_map(|port| Some((port.p99_ns?, port.exact)))
                .max(),
            failures: Totals::of(row).failures,
        })
        .collect()
}

/// Numbers in descending order, unless reversed; the report's order breaks ties.
fn sort_processes(lines: &mut [ProcessLine], report: &Report, order: SortOrder<ByProcess>) {
    let rates = |line: &ProcessLine| line.rates.unwrap_or_default();
    let number = |line: &ProcessLine| match order.by {
        ByProcess::Rate => rates(line).all_time_waits(),
        ByProcess::Alive => line.alive as f64,
        ByProcess::Resets => rates(line).resets_sent + rates(line).resets_received,
        ByProcess::Searches => rates(line).searches,
        ByProcess::P99 => line.p99.map_or(-1.0, |(ns, _)| ns as f64),
        ByProcess::Failures => line.failures as f64,
        ByProcess::Name => 0.0,
    };
    let name = |line: &ProcessLine| {
        let process = report.processes[line.row].process.as_ref();
        process.map(|process| (process.comm.padded(), process.key))
    };
    lines.sort_by(|a, b| {
        let ordering = match order.by {
            ByProcess::Name => name(a).cmp(&name(b)),
            _ => number(b).total_cmp(&number(a)),
        };
        turned(ordering, order.is_reversed)
    });
}

fn turned(ordering: Ordering, is_reversed: bool) -> Ordering {
    if is_reversed {
        ordering.reverse()
    } else {
        ordering
    }
}
