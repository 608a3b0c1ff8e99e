//! Sockets that exist when tracing begins: their side, and who holds them.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use twtrace_core::model::budget::ports::PortRange;
use twtrace_core::model::socket::NetnsSockets;
use twtrace_core::model::socket::SocketRow;
use twtrace_wire::{Side, TcpState};

use super::owners::{Owners, SocketHolder};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSocket {
    /// Inode number of its namespace.
    pub netns: u32,
    /// The kernel's identity of the socket.
    pub cookie: u64,
    /// Client or server, or unknown.
    pub side: Side,
    /// As in `socket:[inode]`, or 0.
    pub inode: u32,
}

/// All sockets that are connections or listeners, full sockets before mini-sockets. `range_of` is
/// `ip_local_port_range` of a namespace, if it is known.
pub fn sockets(
    namespaces: &[NetnsSockets],
    range_of: impl Fn(u32) -> Option<PortRange>,
) -> Vec<OpenSocket> {
    let mut full = Vec::new();
    let mut minis = Vec::new();
    for namespace in namespaces {
        let listeners = Listeners::of(&namespace.rows);
        let range = range_of(namespace.netns);
        for row in &namespace.rows {
            if row.state == TcpState::Close || row.cookie == 0 {
                continue;
            }
            let socket = OpenSocket {
                netns: namespace.netns,
                cookie: row.cookie,
                side: side(row, &listeners, range),
                inode: row.inode,
            };
            if row.is_mini() {
                minis.push(socket)
            } else {
                full.push(socket)
            }
        }
    }
    full.append(&mut minis);
    full
}

/// The process that a socket is attributed to: the holder that started first. Parents pass sockets on to their
/// children, and never the other way by themselves.
pub fn opener(socket: &OpenSocket, owners: &Owners) -> Option<SocketHolder> {
    let holders = owners.of(socket.inode).iter().copied();
    holders.min_by_key(|holder| (holder.start_ticks, holder.pid))
}

/// Inode numbers of sockets that may have a holder.
pub fn inodes(sockets: &[OpenSocket]) -> HashSet<u32> {
    let inodes = sockets.iter().map(|socket| socket.inode);
    inodes.filter(|inode| *inode != 0).collect()
}

/// No dump reports which end a socket is. If something listens on its address it is a server's: connect() takes no
/// port that a listener owns. Otherwise it is a client's, if connect() may choose its port. Other ports may belong to
/// a server that no longer listens, or to a client that asked for them by number.
fn side(row: &SocketRow, listeners: &Listeners, range: Option<PortRange>) -> Side {
    match row.state {
        TcpState::SynSent => return Side::Client,
        TcpState::SynRecv | TcpState::NewSynRecv => return Side::Server,
        _ => {}
    }
    if listeners.cover(row.local, row.mapped) {
        return Side::Server;
    }
    match range {
        Some(range) if range.contains(row.local.port()) => Side::Client,
        _ => Side::Unknown,
    }
}

/// Addresses with listeners, by port.
struct Listeners {
    by_port: HashMap<u16, Vec<(IpAddr, bool)>>,
}

impl Listeners {
    fn of(rows: &[SocketRow]) -> Self {
        let mut by_port: HashMap<u16, Vec<(IpAddr, bool)>> = HashMap::new();
        for row in rows.iter().filter(|row| row.state == TcpState::Listen) {
            let takes_v4 = row.local.is_ipv4() || row.v6only == Some(false);
            by_port
                .entry(row.local.port())
                .or_default()
                .push((row.local.ip(), takes_v4));
        }
        Self { by_port }
    }

    fn cover(&self, local: SocketAddr, mapped: bool) -> bool {
        let Some(listeners) = self.by_port.get(&local.port()) else {
            return false;
        };
        listeners.iter().any(|(address, takes_v4)| {
            *address == local.ip()
                || match (address, local) {
                    (IpAddr::V4(any), SocketAddr::V4(_)) => any.is_unspecified() && !mapped,
                    (IpAddr::V6(any), SocketAddr::V6(_)) => any.is_unspecified(),
                    // Through an IPv6 listener that takes IPv4 too.
                    (IpAddr::V6(any), SocketAddr::V4(_)) => any.is_unspecified() && *takes_v4,
                    (IpAddr::V4(_), SocketAddr::V6(_)) => false,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::comm::Comm;
    use twtrace_core::model::socket::Timer;
    use twtrace_core::model::socket::samples::socket;

    use super::*;

    fn row(state: TcpState, local: &str, cookie: u64) -> SocketRow {
        SocketRow {
            cookie,
            ..socket(state, local, "10.0.0.9:40000", 7)
        }
    }

    fn sides(rows: Vec<SocketRow>, range: Option<PortRange>) -> Vec<(u64, Side)> {
        let namespaces = [NetnsSockets { netns: 1, rows }];
        sockets(&namespaces, |_| range)
            .into_iter()
            .map(|socket| (socket.cookie, socket.side))
            .collect()
    }

    const RANGE: Option<PortRange> = Some(PortRange {
        low: 32_768,
        high: 60_999,
    });

    #[test]
    fn what_is_listened_on_is_a_servers_and_ports_of_the_range_are_clients() {
        let open = TcpState::Established;
        let listen = |local| row(TcpState::Listen, local, 100);
        let rows = vec![
            listen("10.0.0.1:80"),
            listen("0.0.0.0:81"),
            SocketRow {
                v6only: Some(false),
                ..listen("[::]:40001")
            },
            row(open, "10.0.0.1:80", 1),
            // Nobody listens on that port of another address.
            row(open, "10.0.0.2:80", 2),
            row(open, "10.0.0.2:81", 3),
            row(open, "10.0.0.2:40001", 4),
            row(open, "10.0.0.2:40002", 5),
            row(open, "10.0.0.2:700", 6),
            row(TcpState::SynSent, "10.0.0.2:701", 7),
        ];
        let listener = (100, Side::Server);
        let expected = [
            listener,
            listener,
            listener,
            (1, Side::Server),
            (2, Side::Unknown),
            (3, Side::Server),
            (4, Side::Server),
            (5, Side::Client),
            (6, Side::Unknown),
            (7, Side::Client),
        ];
        assert_eq!(sides(rows.clone(), RANGE), expected);
        // Without the range only listeners decide.
        assert_eq!(sides(rows, None)[7], (5, Side::Unknown));
    }

    #[test]
    fn full_sockets_come_first_and_what_has_no_identity_not_at_all() {
        let mini = SocketRow {
            timer: Timer::TimeWait,
            retransmits: 0,
            ..row(TcpState::TimeWait, "10.0.0.2:40003", 1)
        };
        let rows = vec![
            mini,
            row(TcpState::Established, "10.0.0.2:40004", 2),
            row(TcpState::Established, "10.0.0.2:40005", 0),
            row(TcpState::Close, "10.0.0.2:40006", 3),
        ];
        assert_eq!(sides(rows, RANGE), [(2, Side::Client), (1, Side::Client)]);
    }

    #[test]
    fn the_eldest_holder_is_taken_for_the_opener() {
        let holder = |pid, start_ticks| SocketHolder {
            pid,
            start_ticks,
            comm: Comm::default(),
        };
        // Pids may wrap.
        let owners = Owners::of_holders(7, vec![holder(3, 900), holder(30_000, 800)]);
        let socket = OpenSocket {
            netns: 1,
            cookie: 1,
            side: Side::Client,
            inode: 7,
        };
        assert_eq!(opener(&socket, &owners), Some(holder(30_000, 800)));
        assert_eq!(opener(&OpenSocket { inode: 8, ..socket }, &owners), None);
        let orphan = OpenSocket { inode: 0, ..socket };
        assert_eq!(inodes(&[socket, orphan]), HashSet::from([7]));
    }
}
