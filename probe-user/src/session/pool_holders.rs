//! Finds the processes with the live sockets of port pools that these nearly fill.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use twtrace_core::model::budget::holders::{CrowdedPool, PoolHolder, PoolHolders};
use twtrace_core::model::budget::ports::{PortRange, PortSet};
use twtrace_core::model::socket::SocketRow;
use twtrace_wire::TcpState;

use super::Session;
use super::socket_scan::process_of;
use crate::scan::owners::Owners;

/// States of full sockets that hold a port, and of listeners, whose ports are no clients'.
pub const LIVE: &[TcpState] = &[
    TcpState::Listen,
    TcpState::Established,
    TcpState::SynSent,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::Closing,
];

/// Maximum number of processes of a pool.
const MAX_HOLDERS: usize = 5;

/// The live sockets of one pool.
pub struct Crowd {
    netns: u32,
    pool: CrowdedPool,
    /// Inode numbers; 0 for those without a descriptor.
    inodes: Vec<u32>,
}

/// The live sockets of clients in some pools of one namespace: accepted connections share the port of their listener.
pub struct Crowds<S> {
    range: PortRange,
    is_server: S,
    listening: PortSet,
    /// Each with ports and inode numbers.
    pools: Vec<(CrowdedPool, Vec<(u16, u32)>)>,
}

impl<S: Fn(u16) -> bool> Crowds<S> {
    /// `is_server`: whether connections were accepted on a port.
    pub fn new(pools: &[CrowdedPool], range: PortRange, is_server: S) -> Self {
        Self {
            range,
            is_server,
            listening: PortSet::default(),
            pools: pools.iter().map(|pool| (*pool, Vec::new())).collect(),
        }
    }

    pub fn of_namespace(self, netns: u32) -> impl Iterator<Item = Crowd> {
        let listening = self.listening;
        let pools = self.pools.into_iter();
        pools.map(move |(pool, sockets)| Crowd {
            netns,
            pool,
            inodes: sockets
                .into_iter()
                .filter(|(port, _)| !listening.contains(*port))
                .map(|(_, inode)| inode)
                .collect(),
        })
    }
}

impl<S: Fn(u16) -> bool> Extend<SocketRow> for Crowds<S> {
    fn extend<I: IntoIterator<Item = SocketRow>>(&mut self, rows: I) {
        for row in rows {
            let port = row.local.port();
            if row.is_mini() || !self.range.contains(port) {
                continue;
            }
            if row.state == TcpState::Listen {
                self.listening.insert(port);
                continue;
            }
            if (self.is_server)(port) {
                continue;
            }
            for (pool, sockets) in &mut self.pools {
                if pool.has(row.local.ip(), row.remote) {
                    sockets.push((port, row.inode));
                }
            }
        }
    }
}

/// The sockets of one namespace that have ports of bind(), except for TIME_WAITs, which have no process.
pub struct SocketsOfBind<'a> {
    range: PortRange,
    ports: &'a PortSet,
    /// The first socket of each port: the listener, if there is one.
    first: HashMap<u16, (bool, u32)>,
}

impl<'a> SocketsOfBind<'a> {
    /// `ports`: those that bind() chose, or was called for.
    pub fn new(range: PortRange, ports: &'a PortSet) -> Self {
        Self {
            range,
            ports,
            first: HashMap::new(),
        }
    }

    pub fn of_namespace(self, netns: u32) -> Crowd {
        Crowd {
            netns,
            pool: CrowdedPool::OF_BIND,
            inodes: self.first.into_values().map(|(_, inode)| inode).collect(),
        }
    }
}

impl Extend<SocketRow> for SocketsOfBind<'_> {
    fn extend<I: IntoIterator<Item = SocketRow>>(&mut self, rows: I) {
        for row in rows {
            let port = row.local.port();
            if row.is_mini() || !self.range.contains(port) || !self.ports.contains(port) {
                continue;
            }
            let is_listener = row.state == TcpState::Listen;
            let first = self.first.entry(port).or_insert((is_listener, row.inode));
            if is_listener && !first.0 {
                *first = (true, row.inode);
            }
        }
    }
}

/// The processes that have them open.
pub fn find(crowds: Vec<Crowd>, session: &mut Session) -> Vec<PoolHolders> {
    let all = crowds.iter().flat_map(|crowd| &crowd.inodes).copied();
    let inodes: HashSet<u32> = all.filter(|inode| *inode != 0).collect();
    let owners = Owners::find(&inodes);
    let found = crowds.into_iter().map(|crowd| PoolHolders {
        netns: crowd.netns,
        pool: crowd.pool,
        holders: holders(&crowd.inodes, &owners, session),
    });
    found.collect()
}

/// Of the processes that have a socket open, the eldest: parents pass sockets on to their children.
fn holders(inodes: &[u32], owners: &Owners, session: &mut Session) -> Vec<PoolHolder> {
    let mut counts = HashMap::new();
    for inode in inodes {
        let eldest = owners
            .of(*inode)
            .iter()
            .min_by_key(|it| (it.start_ticks, it.pid));
        let key = eldest.map(|it| (it.pid, it.start_ticks));
        counts.entry(key).or_insert((eldest.copied(), 0_u64)).1 += 1;
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_by_key(|(it, live)| (Reverse(*live), it.map(|it| it.pid)));
    counts.truncate(MAX_HOLDERS);
    let named = counts.into_iter().map(|(holder, live)| {
        let process = holder.and_then(|holder| process_of(&holder, session));
        let process = process.map(|mut process| {
            session.complete(&mut process);
            process
        });
        PoolHolder { process, live }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use twtrace_core::model::socket::samples::socket;

    use super::*;

    const RANGE: PortRange = PortRange {
        low: 40_000,
        high: 40_099,
    };

    #[test]
    fn connections_of_a_listener_hold_no_ports_of_a_pool() {
        let pool = CrowdedPool {
            source: "10.0.0.1".parse().unwrap(),
            destination: None,
            is_of_bind: false,
        };
        let mut crowds = Crowds::new(&[pool], RANGE, |port| port == 40_006);
        let (any, peer) = ("0.0.0.0:0", "10.0.0.9:7000");
        // The listener may be listed after its connections.
        crowds.extend([
            socket(TcpState::Established, "10.0.0.1:40005", peer, 1),
            socket(TcpState::Listen, "0.0.0.0:40005", any, 2),
            // Its listener is closed, but it was seen accepting.
            socket(TcpState::Established, "10.0.0.1:40006", peer, 3),
            socket(TcpState::Established, "10.0.0.1:40007", peer, 4),
            socket(TcpState::Established, "10.0.0.1:50007", peer, 5),
        ]);
        let found: Vec<Crowd> = crowds.of_namespace(1).collect();
        assert_eq!(found[0].inodes, [4]);
    }

    #[test]
    fn a_port_of_bind_counts_once_and_is_its_listeners() {
        let ports: PortSet = [40_005, 40_007, 50_007].into_iter().collect();
        let mut sockets = SocketsOfBind::new(RANGE, &ports);
        let (any, peer) = ("0.0.0.0:0", "10.0.0.9:7000");
        sockets.extend([
            socket(TcpState::Established, "10.0.0.1:40005", peer, 1),
            socket(TcpState::Listen, "0.0.0.0:40005", any, 2),
            // connect() chose it.
            socket(TcpState::Established, "10.0.0.1:40006", peer, 3),
            socket(TcpState::Close, "10.0.0.2:40007", any, 4),
            socket(TcpState::Close, "10.0.0.2:50007", any, 5),
        ]);
        let mut inodes = sockets.of_namespace(1).inodes;
        inodes.sort_unstable();
        assert_eq!(inodes, [2, 4]);
    }
}
