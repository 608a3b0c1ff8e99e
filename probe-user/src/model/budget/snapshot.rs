//! The sockets of one network namespace at one moment, sorted into the ports that each tuple holds.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::ports::{PortRange, PortSet};
use super::sysctls::{PortSysctls, TIME_WAIT_NS};

/// One socket, as a dump tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// What it is.
    pub state: SocketState,
}

/// What matters of a socket's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// It listens.
    Listening,
    /// It is bound, and nothing more.
    Bound,
    /// It holds a port of its tuple.
    Holding(Hold),
}

/// How a port of a tuple is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// By a full socket.
    Live,
    /// By a mini-socket.
    TimeWait {
        /// Until it ends, nanoseconds.
        left_ns: u64,
        /// Whether it still waits for the peer's FIN. Its time begins anew when that comes.
        in_fin_wait2: bool,
    },
}

impl Hold {
    /// Time until a connect() that looks for a port can have this one, if a TIME_WAIT is in its way;
    /// nanoseconds. `None` for a live socket. 0: it can have it now.
    pub fn blocks_for_ns(self, sysctls: &PortSysctls, is_reused: bool) -> Option<u64> {
        match self {
            Self::Live => None,
            Self::TimeWait {
                left_ns,
                in_fin_wait2: false,
            } if is_reused => {
                let age_ns = TIME_WAIT_NS.saturating_sub(left_ns);
                Some(sysctls.reuse_delay_ns.saturating_sub(age_ns))
            }
            Self::TimeWait { left_ns, .. } => Some(left_ns),
        }
    }
}

/// Ports and how they are held, in order of the ports.
pub type Held = Vec<(u16, Hold)>;

/// The client sockets of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    tuples: HashMap<(IpAddr, SocketAddr), Held>,
    bound: Vec<SocketAddr>,
}

impl Snapshot {
    /// Sorts sockets.
    ///
    /// Which end a socket is, no dump says. It is taken for a client's where its port belongs to the range
    /// and nothing in the namespace listens on that port, nor, by `is_server`, is known to have accepted
    /// there. Ports outside of the range were asked for by number and take nothing from a budget. What is
    /// left of a server in the range that listens no more and was not seen accepting is taken for clients'.
    pub fn new(sockets: &[Socket], range: PortRange, is_server: impl Fn(u16) -> bool) -> Self {
        let in_range = || {
            let in_range = |socket: &&Socket| range.contains(socket.local.port());
            sockets.iter().filter(in_range)
        };
        let mut bound: HashSet<SocketAddr> = in_range()
            .filter(|socket| !matches!(socket.state, SocketState::Holding(_)))
            .map(|socket| socket.local)
            .collect();
        let listening: PortSet = in_range()
            .filter(|socket| socket.state == SocketState::Listening)
            .map(|socket| socket.local.port())
            .collect();
        let mut tuples: HashMap<_, Held> = HashMap::new();
        for socket in in_range() {
            let port = socket.local.port();
            let SocketState::Holding(hold) = socket.state else {
                continue;
            };
            if listening.contains(port) {
                continue;
            }
            if is_server(port) {
                bound.insert(socket.local);
                continue;
            }
            tuples
                .entry((socket.local.ip(), socket.remote))
                .or_default()
                .push((port, hold));
        }
        tuples.values_mut().for_each(one_hold_a_port);
        Self {
            tuples,
            bound: bound.into_iter().collect(),
        }
    }

    /// Adds what another part of the same moment has.
    pub fn extend(&mut self, tuples: HashMap<(IpAddr, SocketAddr), Held>, bound: Vec<SocketAddr>) {
        for (tuple, held) in tuples {
            let known = self.tuples.entry(tuple).or_default();
            known.extend(held);
            one_hold_a_port(known);
        }
        self.bound.extend(bound);
    }

    /// Tuples that hold a port: source address and destination.
    pub fn tuples(&self) -> impl Iterator<Item = (IpAddr, SocketAddr)> {
        self.tuples.keys().copied()
    }

    /// The ports held by one tuple.
    pub fn held_by(&self, source: IpAddr, destination: SocketAddr) -> &[(u16, Hold)] {
        self.tuples
            .get(&(source, destination))
            .map_or(&[], Vec::as_slice)
    }

    /// The ports held on one address, whatever the destination: those that a bind() to any port of that
    /// address can't have. On the unspecified address: all of them.
    pub fn held_on(&self, source: IpAddr) -> Held {
        let mut held: Held = self
            .tuples
            .iter()
            .filter(|((address, _), _)| source.is_unspecified() || *address == source)
            .flat_map(|(_, held)| held.iter().copied())
            .collect();
        one_hold_a_port(&mut held);
        held
    }

    /// Ports of the range that somebody bound, listens on, or accepted on: they belong to a bind(). (Up to 6.7 no
    /// dump lists sockets that are only bound.)
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }
}

/// Sorts, and keeps of each port what holds it longest.
fn one_hold_a_port(held: &mut Held) {
    let length = |hold: &Hold| match hold {
        Hold::Live => u64::MAX,
        Hold::TimeWait { left_ns, .. } => *left_ns,
    };
    held.sort_unstable_by_key(|(port, hold)| (*port, std::cmp::Reverse(length(hold))));
    held.dedup_by_key(|(port, _)| *port);
}

#[cfg(test)]
pub mod samples {
    use super::*;

    /// A live socket.
    pub fn live(local: &str, remote: &str) -> Socket {
        Socket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            state: SocketState::Holding(Hold::Live),
        }
    }

    /// A TIME_WAIT.
    pub fn time_wait(local: &str, remote: &str, left_s: u64) -> Socket {
        Socket {
            state: SocketState::Holding(super::super::pace::samples::left(left_s)),
            ..live(local, remote)
        }
    }

    /// A listener.
    pub fn listener(local: &str) -> Socket {
        Socket {
            state: SocketState::Listening,
            ..live(local, "0.0.0.0:0")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{listener, live, time_wait};
    use super::*;
    use crate::model::budget::sysctls::{TwReuse, samples::narrow};

    #[test]
    fn listeners_and_what_they_accepted_are_no_clients() {
        let sockets = [
            listener("0.0.0.0:40001"),
            live("10.0.0.1:40001", "10.0.0.9:5555"),
            live("10.0.0.1:40000", "10.0.0.2:80"),
            time_wait("10.0.0.1:40002", "10.0.0.2:80", 30),
            live("10.0.0.1:40003", "10.0.0.3:80"),
            live("10.0.0.1:50000", "10.0.0.2:80"),
        ];
        let snapshot = Snapshot::new(&sockets, narrow().range, |port| port == 40_003);
        let source = "10.0.0.1".parse().unwrap();
        let destination = "10.0.0.2:80".parse().unwrap();
        assert_eq!(
            snapshot.tuples().collect::<Vec<_>>(),
            [(source, destination)]
        );
        let ports: Vec<u16> = snapshot
            .held_by(source, destination)
            .iter()
            .map(|(port, _)| *port)
            .collect();
        assert_eq!(ports, [40_000, 40_002]);
        let mut bound: Vec<String> = snapshot.bound().iter().map(ToString::to_string).collect();
        bound.sort();
        assert_eq!(bound, ["0.0.0.0:40001", "10.0.0.1:40003"]);
    }

    #[test]
    fn a_port_counts_once_on_its_address() {
        let sockets = [
            time_wait("10.0.0.1:40000", "10.0.0.2:80", 30),
            live("10.0.0.1:40000", "10.0.0.3:80"),
            time_wait("10.0.0.5:40000", "10.0.0.3:80", 20),
            time_wait("10.0.0.5:40001", "10.0.0.3:80", 20),
        ];
        let snapshot = Snapshot::new(&sockets, narrow().range, |_| false);
        assert_eq!(
            snapshot.held_on("10.0.0.1".parse().unwrap()),
            [(40_000, Hold::Live)]
        );
        assert_eq!(snapshot.held_on("10.0.0.5".parse().unwrap()).len(), 2);
        assert_eq!(snapshot.held_on("0.0.0.0".parse().unwrap()).len(), 2);
    }

    #[test]
    fn a_time_wait_blocks_until_it_may_be_reused() {
        let second = 1_000_000_000;
        let mut sysctls = narrow();
        sysctls.tw_reuse = TwReuse::Always;
        let hold = |left_s: u64, in_fin_wait2| Hold::TimeWait {
            left_ns: left_s * second,
            in_fin_wait2,
        };
        let ask = |hold: Hold, is_reused| hold.blocks_for_ns(&sysctls, is_reused);
        assert_eq!(ask(hold(60, false), true), Some(second));
        assert_eq!(ask(hold(59, false), true), Some(0));
        assert_eq!(ask(hold(59, false), false), Some(59 * second));
        assert_eq!(ask(hold(59, true), true), Some(59 * second));
        assert_eq!(ask(Hold::Live, true), None);
    }
}
