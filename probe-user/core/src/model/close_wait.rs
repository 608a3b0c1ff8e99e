//! Connections that the peer has closed and this host's process has not: CLOSE_WAIT, by process.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use twtrace_wire::{Side, TcpState};

use super::destination::Destination;
use crate::event::answerable::Answerable;
use crate::event::{Process, words};
use crate::filter::Filter;
use crate::model::socket::NetnsSockets;
use crate::model::socket::{SocketRow, Times};

/// States to scan for: CLOSE_WAIT; FIN_WAIT2, the state of a peer on this host that still waits for an answer; and
/// listeners, which distinguish servers from clients.
pub const STATES: &[TcpState] = &[TcpState::CloseWait, TcpState::FinWait2, TcpState::Listen];
/// From this age on a connection was not only about to be closed.
pub const STAYED: Duration = Duration::from_secs(5);

/// One process's connections to one destination.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct CloseWaitRow {
    /// The process that holds them.
    pub process: Option<Process>,
    /// Why `process` is null.
    pub unattributed: Option<NoHolder>,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `server` if there is a listener on the local port, else `client`.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<Side>")]
    pub side: Side,
    /// Client: `address:port`.
    pub remote: Option<String>,
    /// Server: `:port`.
    pub local: Option<String>,
    /// Number of connections.
    pub count: u64,
    /// Those of them that other processes also hold, and which also count there.
    pub shared: u64,
    /// Minimum time that the oldest one has been in this state, nanoseconds: nothing has arrived from the peer since.
    pub oldest_ns: Option<u64>,
    /// Maximum time, nanoseconds: payload arrived then, or the connection was established.
    pub oldest_at_most_ns: Option<u64>,
    /// Those that have been in this state for 5 s or more, by their age or since they were in it in an earlier sample,
    /// and whose peer does not wait for an answer; `None` in a history.
    pub stayed: Option<u64>,
    /// Those whose peer, on this host, has closed its half only and still waits.
    pub half_closed: u64,
    /// The minimum age of the oldest one of `stayed`, nanoseconds.
    #[serde(skip)]
    pub stayed_ns: Option<u64>,
    /// The form in tables.
    #[serde(skip)]
    pub destination: Destination,
}

impl CloseWaitRow {
    /// Who holds them.
    pub fn answerable(&self) -> Answerable<'_, NoHolder> {
        Answerable::of(self.process.as_ref(), self.unattributed)
    }
}

/// Why no process holds a connection.
#[derive(
    schemars::JsonSchema,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum NoHolder {
    /// It waits for accept() in its listener's queue.
    NotAccepted,
    /// No descriptor in /proc refers to it: it is being passed between processes, or is held by one that may not be
    /// inspected.
    Unknown,
}

impl NoHolder {
    /// The word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotAccepted => "not_accepted",
            Self::Unknown => "unknown",
        }
    }
}

/// A process by id and start, or why there is none.
type HolderKey = Result<(u32, u64), NoHolder>;

#[derive(Debug, Default)]
struct Sum {
    process: Option<Process>,
    count: u64,
    shared: u64,
    stayed: u64,
    half_closed: u64,
    stayed_for: Option<Duration>,
    oldest: Option<Duration>,
    oldest_at_most: Option<Duration>,
}

/// Inode numbers of the sockets in CLOSE_WAIT that a descriptor refers to.
pub fn inodes(namespaces: &[NetnsSockets]) -> HashSet<u32> {
    let rows = namespaces.iter().flat_map(|sockets| &sockets.rows);
    rows.filter(|row| row.state == TcpState::CloseWait && row.inode != 0)
        .map(|row| row.inode)
        .collect()
}

/// One connection that the peer has closed, as it was found.
#[derive(Clone, Debug)]
pub struct CloseWaitConnection {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `server` if there is a listener on the local port, else `client`.
    pub side: Side,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The kernel's identity of the socket; 0 in recordings of earlier versions.
    pub cookie: u64,
    /// Whether the peer is a process on this host that has closed its half only: FIN_WAIT2, with a descriptor.
    pub peer_waits: bool,
    /// When something last arrived; `None` if the kernel did not report it.
    pub times: Option<Times>,
    /// The processes that hold it, or why none does.
    pub holders: Result<Vec<Process>, NoHolder>,
}

/// The connections of all namespaces. `holders` returns the processes that hold the socket with an inode number.
pub fn connections(
    namespaces: &[NetnsSockets],
    mut holders: impl FnMut(u32) -> Vec<Process>,
) -> Vec<CloseWaitConnection> {
    let mut connections = Vec::new();
    let waiting = half_closed(namespaces);
    for NetnsSockets { netns, rows } in namespaces {
        let listeners = Listeners::of(rows);
        for row in rows.iter().filter(|row| row.state == TcpState::CloseWait) {
            let processes = holders(row.inode);
            let no_one = match row.inode {
                0 => NoHolder::NotAccepted,
                _ => NoHolder::Unknown,
            };
            connections.push(CloseWaitConnection {
                netns: *netns,
                side: if listeners.have(row.local) {
                    Side::Server
                } else {
                    Side::Client
                },
                local: row.local,
                remote: row.remote,
                cookie: row.cookie,
                peer_waits: waiting.contains(&ends(*netns, row.remote, row.local)),
                times: row.times,
                holders: if processes.is_empty() {
                    Err(no_one)
                } else {
                    Ok(processes)
                },
            });
        }
    }
    connections
}

/// Both ends of a connection; a loopback connection stays in its network namespace.
type Ends = (Option<u32>, SocketAddr, SocketAddr);

fn ends(netns: u32, local: SocketAddr, remote: SocketAddr) -> Ends {
    let is_loopback = local.ip().to_canonical().is_loopback();
    (is_loopback.then_some(netns), local, remote)
}

/// Full sockets in FIN_WAIT2 that a descriptor refers to: their process has shut down one half and waits for the other.
fn half_closed(namespaces: &[NetnsSockets]) -> HashSet<Ends> {
    let all = namespaces
        .iter()
        .flat_map(|sockets| sockets.rows.iter().map(move |row| (sockets.netns, row)));
    all.filter(|(_, row)| row.state == TcpState::FinWait2 && !row.is_mini() && row.inode != 0)
        .map(|(netns, row)| ends(netns, row.local, row.remote))
        .collect()
}

/// An earlier sample.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// What was in CLOSE_WAIT then.
    pub connections: &'a [CloseWaitConnection],
    /// How long before.
    pub before: Duration,
}

impl Earlier<'_> {
    /// The connections of which it is known that they stayed, as the earlier sample is old enough.
    fn known(self) -> HashSet<(u32, u64)> {
        if self.before < STAYED {
            return HashSet::new();
        }
        let known = self.connections.iter().filter(|it| it.cookie != 0);
        known.map(|it| (it.netns, it.cookie)).collect()
    }
}

/// Rows that the filter shows, those with the most connections first. `known` returns a holder with the name and
/// identity that events reported. Kinds of events in the filter are ignored.
pub fn rows(
    connections: &[CloseWaitConnection],
    earlier: Option<Earlier<'_>>,
    filter: &Filter,
    known: impl Fn(&Process) -> Option<Process>,
) -> Vec<CloseWaitRow> {
    let before = earlier.map_or(Duration::ZERO, |earlier| earlier.before);
    let known_before = earlier.map(Earlier::known).unwrap_or_default();
    let mut sums: HashMap<(HolderKey, u32, Side, Destination), Sum> = HashMap::new();
    for connection in connections {
        let CloseWaitConnection {
            netns,
            side,
            local,
            remote,
            ..
        } = *connection;
        if !filter.shows_ends(netns, side, local, remote) {
            continue;
        }
        let destination = match side {
            Side::Server => Destination::LocalPort(local.port()),
            Side::Client | Side::Unknown => Destination::Remote(remote),
        };
        let whose: Vec<(HolderKey, Option<Process>)> = match &connection.holders {
            Err(no_one) => vec![(Err(*no_one), None)],
            Ok(holders) => holders
                .iter()
                .map(|holder| {
                    let process = known(holder).unwrap_or_else(|| holder.clone());
                    let who = Ok((process.key.tgid, process.key.start_boot_ns));
                    (who, Some(process))
                })
                .collect(),
        };
        let is_shared = whose.len() > 1;
        let was_there = known_before.contains(&(netns, connection.cookie));
        let stayed = connection.stayed(was_there.then_some(before));
        for (who, process) in whose {
            if filter.shows_process(process.as_ref()) {
                let sum = sums.entry((who, netns, side, destination)).or_default();
                sum.add(connection, stayed, is_shared);
                sum.process = process;
            }
        }
    }
    sorted(sums)
}

impl CloseWaitConnection {
    /// Minimum time in this state.
    fn at_least(&self) -> Option<Duration> {
        // Payload also carries an acknowledgement; the later figure excludes only one that no longer acknowledges
        // anything.
        self.times
            .map(|times| times.since_ack.min(times.since_data))
    }

    /// How long it has stayed in this state, if that is long and its peer does not wait for an answer. `since` is how
    /// long ago it was in this state already.
    fn stayed(&self, since: Option<Duration>) -> Option<Duration> {
        let age = self.at_least().max(since)?;
        (age >= STAYED && !self.peer_waits).then_some(age)
    }
}

impl Sum {
    fn add(&mut self, connection: &CloseWaitConnection, stayed: Option<Duration>, is_shared: bool) {
        self.count += 1;
        self.shared += u64::from(is_shared);
        self.half_closed += u64::from(connection.peer_waits);
        self.stayed += u64::from(stayed.is_some());
        self.stayed_for = self.stayed_for.max(stayed);
        if let Some(times) = connection.times {
            self.oldest = self.oldest.max(connection.at_least());
            self.oldest_at_most = self.oldest_at_most.max(Some(times.since_data));
        }
    }
}

fn sorted(sums: HashMap<(HolderKey, u32, Side, Destination), Sum>) -> Vec<CloseWaitRow> {
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(key, sum)| (Reverse((sum.count, sum.oldest)), *key));
    let nanoseconds = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    sums.into_iter()
        .map(|((who, netns, side, destination), sum)| CloseWaitRow {
            process: sum.process,
            unattributed: who.err(),
            netns,
            side,
            remote: destination.remote(),
            local: destination.local(),
            count: sum.count,
            shared: sum.shared,
            oldest_ns: sum.oldest.map(nanoseconds),
            oldest_at_most_ns: sum.oldest_at_most.map(nanoseconds),
            stayed: Some(sum.stayed),
            half_closed: sum.half_closed,
            stayed_ns: sum.stayed_for.map(nanoseconds),
            destination,
        })
        .collect()
}

/// The listeners of one namespace.
struct Listeners {
    exact: HashSet<SocketAddr>,
    /// Ports of listeners on every IPv4 address, and of those on every IPv6 address.
    any: [HashSet<u16>; 2],
}

impl Listeners {
    fn of(rows: &[SocketRow]) -> Self {
        let mut listeners = Self {
            exact: HashSet::new(),
            any: Default::default(),
        };
        for row in rows.iter().filter(|row| row.state == TcpState::Listen) {
            let (address, port) = (row.local.ip(), row.local.port());
            if !address.is_unspecified() {
                listeners.exact.insert(row.local);
                continue;
            }
            if address.is_ipv6() {
                listeners.any[1].insert(port);
            }
            if address.is_ipv4() || row.v6only != Some(true) {
                listeners.any[0].insert(port);
            }
        }
        listeners
    }

    fn have(&self, local: SocketAddr) -> bool {
        self.exact.contains(&local)
            || self.any[usize::from(local.is_ipv6())].contains(&local.port())
    }
}

#[cfg(test)]
#[path = "close_wait_tests.rs"]
mod tests;
