//! Rows in their order: what is in scope and passes the filter. Made anew with each sample, not for each
//! drawing.

mod destinations;
mod processes;

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use twtrace_core::event::comm::Comm;
use twtrace_core::event::{Event, EventFacts, Process};
use twtrace_core::filter::Filter;
use twtrace_core::model::destination::Destination;
use twtrace_wire::{ProcessKey, Side};

pub use destinations::DestinationLine;
use destinations::{destination_lines, sort_destinations};
pub use processes::{ProcessItem, ProcessLine};
use processes::{process_lines, sort_processes};

use super::live::LiveState;
use super::sort::{ByDestination, ByProcess, SortOrder};
use super::towards::{DestinationKey, destination_of};

/// What the view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole host.
    All,
    /// All processes of one name.
    Command(Comm),
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
            Self::Command(comm) => involved(event).any(|process| process.comm == *comm),
            Self::Process(key) => {
                event.answerable().key() == *key
                    || involved(event).any(|process| process.key == *key)
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

/// The process that an event is of, the opener, and the one that reused a TIME_WAIT.
fn involved(event: &Event) -> impl Iterator<Item = &Process> {
    let by = match &event.facts {
        EventFacts::TimeWaitEnd(facts) => facts.by.as_ref(),
        _ => None,
    };
    let processes = [event.process.as_ref(), event.opener.as_ref(), by];
    processes.into_iter().flatten()
}

impl DestinationItem {
    /// Whether events with a destination are in this scope.
    fn has(&self, key: &DestinationKey) -> bool {
        match self {
            Self::Destination(own) => own == key,
            Self::Pool { netns, .. } => key.netns == Some(*netns) && key.side != Side::Server,
        }
    }

    /// Whether the filter accepts it, as far as that is known.
    fn passes(&self, filter: &Filter) -> bool {
        let has = |netns: Option<u32>, side: Side| {
            (filter.netns.is_empty() || netns.is_some_and(|netns| filter.shows_netns(netns)))
                && (filter.sides.is_empty() || filter.sides.contains(&side))
        };
        match self {
            Self::Destination(key) => {
                let (local, remote) = ends(&key.destination);
                has(key.netns, key.side)
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
        is_by_command: bool,
        by_process: SortOrder<ByProcess>,
        by_destination: SortOrder<ByDestination>,
    ) -> Self {
        let Some(sample) = &live.sample else {
            return Self::default();
        };
        let report = &sample.report;
        let mut processes = process_lines(live, report, scope, filter);
        // The opened command shows its processes.
        if is_by_command && !matches!(scope, Scope::Command(_)) {
            processes = processes::by_command(processes, report);
        }
        sort_processes(&mut processes, report, by_process);
        let mut destinations = destination_lines(live, report, scope, filter);
        sort_destinations(&mut destinations, &report.budgets, by_destination);
        Self {
            processes,
            destinations,
        }
    }
}

fn turned(ordering: Ordering, is_reversed: bool) -> Ordering {
    if is_reversed {
        ordering.reverse()
    } else {
        ordering
    }
}
