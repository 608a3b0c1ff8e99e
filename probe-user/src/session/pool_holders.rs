//! Finds the processes with the live sockets of port pools that these nearly fill.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use twtrace_core::model::budget::holders::{CrowdedPool, PoolHolder, PoolHolders};
use twtrace_core::model::budget::ports::PortRange;
use twtrace_core::model::socket::SocketRow;
use twtrace_wire::TcpState;

use super::Session;
use super::socket_scan::process_of;
use crate::scan::owners::Owners;

/// States of full sockets that hold a port of a connection.
pub const LIVE: &[TcpState] = &[
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

/// The live sockets of some pools of one namespace.
pub struct Crowds {
    range: PortRange,
    pools: Vec<(CrowdedPool, Vec<u32>)>,
}

impl Crowds {
    pub fn new(pools: &[CrowdedPool], range: PortRange) -> Self {
        Self {
            range,
            pools: pools.iter().map(|pool| (*pool, Vec::new())).collect(),
        }
    }

    pub fn of_namespace(self, netns: u32) -> impl Iterator<Item = Crowd> {
        let pools = self.pools.into_iter();
        pools.map(move |(pool, inodes)| Crowd {
            netns,
            pool,
            inodes,
        })
    }
}

impl Extend<SocketRow> for Crowds {
    fn extend<I: IntoIterator<Item = SocketRow>>(&mut self, rows: I) {
        for row in rows {
            if row.is_mini() || !self.range.contains(row.local.port()) {
                continue;
            }
            for (pool, inodes) in &mut self.pools {
                if pool.has(row.local.ip(), row.remote) {
                    inodes.push(row.inode);
                }
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
