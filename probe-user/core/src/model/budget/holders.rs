//! Who has the live sockets of the fullest port pools.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::client_sockets::ClientSockets;
use super::row::{BudgetRow, PoolWord};
use crate::event::Process;

/// Maximum number of pools of a namespace whose holders are looked for: the fullest.
const MAX_POOLS: usize = 10;
/// Live sockets must hold at least one port in this many.
const SHARE: u64 = 4;

/// Live sockets of one process in a port pool.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize, Deserialize)]
pub struct PoolHolder {
    /// The process that has them open; of several, the eldest. `None` if it could not be read.
    pub process: Option<Process>,
    /// Number of sockets.
    pub live: u64,
}

impl PartialEq for PoolHolder {
    fn eq(&self, other: &Self) -> bool {
        let key = |it: &Self| it.process.as_ref().map(|process| process.key);
        (key(self), self.live) == (key(other), other.live)
    }
}

/// The processes with the live sockets of one pool, those with the most first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolHolders {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The pool.
    #[serde(flatten)]
    pub pool: CrowdedPool,
    /// The processes.
    pub holders: Vec<PoolHolder>,
}

/// A port pool of which live sockets hold a large part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CrowdedPool {
    /// Source address.
    pub source: IpAddr,
    /// Destination; `None` for all together, which is a pool if sockets are bound before they connect.
    pub destination: Option<SocketAddr>,
    /// Not a pool, but all sockets of bind() of the namespace, with any addresses: connect() skips their ports. Holders
    /// then have a number of ports.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_of_bind: bool,
}

/// For serde.
#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl CrowdedPool {
    /// Whether a socket belongs to it.
    pub fn has(&self, source: IpAddr, destination: SocketAddr) -> bool {
        self.source == source && self.destination.is_none_or(|it| it == destination)
    }
}

impl PoolHolders {
    /// Whether they are those of a row.
    pub fn are_of(&self, row: &BudgetRow) -> bool {
        let is_of_source = match row.source {
            Some(source) => source == self.pool.source || source.is_unspecified(),
            None => row.pool == PoolWord::Connect,
        };
        self.netns == row.netns
            && !self.pool.is_of_bind
            && is_of_source
            && self.pool.destination == row.destination
    }

    /// Whether they have ports that a row lacks.
    pub fn are_bound_beside(&self, row: &BudgetRow) -> bool {
        let lacks = row.failures > 0 || row.free == Some(0);
        let is_crowded = row.range.is_some_and(|range| {
            row.excluded.map_or(0, u64::from).saturating_mul(SHARE) >= range.count()
        });
        self.netns == row.netns
            && self.pool.is_of_bind
            && row.pool == PoolWord::Connect
            && (lacks || is_crowded)
    }
}

impl CrowdedPool {
    /// All sockets of bind().
    pub const OF_BIND: Self = Self {
        source: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        destination: None,
        is_of_bind: true,
    };
}

/// Whether sockets of bind() have so many ports of a range that their processes are looked for.
pub fn is_crowded_by_bind(of_bind: u64, ports: u64) -> bool {
    of_bind.saturating_mul(SHARE) >= ports
}

impl ClientSockets {
    /// Pools of which live sockets hold a large part, given the number of ports of the range.
    pub fn crowded(&self, ports: u64) -> Vec<CrowdedPool> {
        let mut found: Vec<(u64, CrowdedPool)> = Vec::new();
        let mut by_source: HashMap<IpAddr, (u64, u64)> = HashMap::new();
        for (source, destination, live) in self.live() {
            let (sum, destinations) = by_source.entry(source).or_default();
            *sum += live;
            *destinations += 1;
            let pool = CrowdedPool {
                source,
                destination: Some(destination),
                is_of_bind: false,
            };
            found.push((live, pool));
            if found.len() > 64 * MAX_POOLS {
                keep_fullest(&mut found, ports);
            }
        }
        let of_all = by_source.into_iter().map(|(source, (sum, _))| {
            let pool = CrowdedPool {
                source,
                destination: None,
                is_of_bind: false,
            };
            (sum, pool)
        });
        found.extend(of_all);
        keep_fullest(&mut found, ports);
        found.into_iter().map(|(_, pool)| pool).collect()
    }
}

fn keep_fullest(found: &mut Vec<(u64, CrowdedPool)>, ports: u64) {
    found.retain(|(live, _)| live.saturating_mul(SHARE) >= ports);
    found.sort_by_key(|(live, pool)| (Reverse(*live), pool.source, pool.destination));
    found.truncate(MAX_POOLS);
}

#[cfg(test)]
mod tests {
    use super::super::client_sockets::{Hold, Socket, SocketState};
    use super::super::ports::PortRange;
    use super::*;
    use crate::doctor::samples;

    fn sockets(count: u16, destination: &str, hold: Hold) -> Vec<Socket> {
        let socket = |port| Socket {
            local: SocketAddr::new("10.0.0.1".parse().unwrap(), port),
            remote: destination.parse().unwrap(),
            state: SocketState::Holding(hold),
        };
        (40_000..40_000 + count).map(socket).collect()
    }

    #[test]
    fn pools_with_many_live_sockets_are_crowded() {
        let range = PortRange {
            low: 40_000,
            high: 40_099,
        };
        let time_wait = Hold::TimeWait {
            left_ns: 1,
            in_fin_wait2: false,
        };
        let all = [
            sockets(60, "10.0.0.2:80", Hold::Live),
            sockets(10, "10.0.0.3:80", Hold::Live),
            sockets(90, "10.0.0.4:80", time_wait),
        ]
        .concat();
        let pools = ClientSockets::new(&all, range, |_| false).crowded(range.count());
        let destinations: Vec<_> = pools.iter().map(|pool| pool.destination).collect();
        assert_eq!(destinations, [None, Some("10.0.0.2:80".parse().unwrap())]);
    }

    #[test]
    fn holders_belong_to_the_row_of_their_pool() {
        let row = samples::budget(0, 1);
        let holders = |destination: Option<&str>| PoolHolders {
            netns: row.netns,
            pool: CrowdedPool {
                source: row.source.unwrap(),
                destination: destination.map(|it| it.parse().unwrap()),
                is_of_bind: false,
            },
            holders: Vec::new(),
        };
        let destination = row.destination.unwrap().to_string();
        assert!(holders(Some(&destination)).are_of(&row));
        assert!(!holders(Some("10.9.9.9:80")).are_of(&row));
        assert!(!holders(None).are_of(&row));
        assert!(!holders(Some(&destination)).are_bound_beside(&row));
    }

    #[test]
    fn sockets_of_bind_are_beside_pools_that_lack_ports() {
        let of_bind = PoolHolders {
            netns: samples::NETNS,
            pool: CrowdedPool::OF_BIND,
            holders: Vec::new(),
        };
        let any = BudgetRow {
            source: Some("0.0.0.0".parse().unwrap()),
            destination: None,
            ..samples::budget(0, 1)
        };
        assert!(!of_bind.are_of(&any));
        assert!(of_bind.are_bound_beside(&samples::budget(10, 1)));
        assert!(of_bind.are_bound_beside(&samples::budget(0, 0)));
        assert!(!of_bind.are_bound_beside(&samples::budget(10, 0)));
        let crowded = BudgetRow {
            excluded: Some(250),
            ..samples::budget(10, 0)
        };
        assert!(of_bind.are_bound_beside(&crowded));
    }
}
