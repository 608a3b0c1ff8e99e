//! The sockets of one network namespace at one time, sorted into the ports that each tuple holds.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::pool_addresses::{PackedAddresses, PoolAddresses};
use super::ports::{PortRange, PortSet};
use super::sysctls::PortSysctls;
use crate::model::compact_map::CompactMap;

const MS_NS: u64 = 1_000_000;

/// One socket of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its state.
    pub state: SocketState,
}

/// The part of a socket's state that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// It listens.
    Listening,
    /// It is only bound.
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
        /// Whether it still waits for the peer's FIN, which restarts its time.
        in_fin_wait2: bool,
    },
}

impl Hold {
    /// Time until a connect() that allocates a port can have this one, if a TIME_WAIT blocks it; nanoseconds. `None`
    /// for a live socket. 0: it can have it now.
    pub fn blocks_for_ns(self, sysctls: &PortSysctls, is_reused: bool) -> Option<u64> {
        match self {
            Self::Live => None,
            Self::TimeWait {
                left_ns,
                in_fin_wait2: false,
            } if is_reused => {
                let age_ns = sysctls.time_wait_ns().saturating_sub(left_ns);
                Some(sysctls.reuse_delay_ns.saturating_sub(age_ns))
            }
            Self::TimeWait { left_ns, .. } => Some(left_ns),
        }
    }
}

/// Ports and how they are held, sorted by port.
pub type PortHolds = Vec<(u16, Hold)>;

/// The client sockets of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct ClientSockets {
    tuples: CompactMap<PackedAddresses, ()>,
    /// By tuple and port.
    held: Vec<HeldPort>,
    bound: Vec<SocketAddr>,
    of_bind: Option<PortSet>,
}

/// A port that is held. There may be millions, so it has no padding.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(2))]
struct HeldPort {
    /// Number of the tuple.
    tuple: u32,
    port: u16,
    hold: Packed,
}

/// A [`Hold`] in compact form: whole milliseconds, the kernel's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed(u32);

impl Packed {
    const LIVE: Self = Self(u32::MAX);
    const IN_FIN_WAIT2: u32 = 1 << 31;
    /// Twelve days.
    const MAX_MS: u32 = (1 << 30) - 1;

    fn new(hold: Hold) -> Self {
        match hold {
            Hold::Live => Self::LIVE,
            Hold::TimeWait {
                left_ns,
                in_fin_wait2,
            } => {
                let left_ms = u32::try_from(left_ns / MS_NS).unwrap_or(u32::MAX);
                let flag = if in_fin_wait2 { Self::IN_FIN_WAIT2 } else { 0 };
                Self(left_ms.min(Self::MAX_MS) | flag)
            }
        }
    }

    fn hold(self) -> Hold {
        match self {
            Self::LIVE => Hold::Live,
            Self(bits) => Hold::TimeWait {
                left_ns: u64::from(bits & Self::MAX_MS) * MS_NS,
                in_fin_wait2: bits & Self::IN_FIN_WAIT2 != 0,
            },
        }
    }

    /// Longer holds are greater.
    fn length(self) -> u32 {
        match self {
            Self::LIVE => u32::MAX,
            Self(bits) => bits & Self::MAX_MS,
        }
    }
}

impl HeldPort {
    /// Sorts by tuple and port, the longest hold first.
    fn place(&self) -> (u32, u16, Reverse<u32>) {
        let Self { tuple, port, hold } = *self;
        (tuple, port, Reverse(hold.length()))
    }
}

/// Sorts sockets.
///
/// No dump shows which end a socket is. It is taken for a client's if its port belongs to the range and nothing in the
/// namespace listens on that port, nor, according to `is_server`, is known to have accepted there. Ports outside of the
/// range were requested by number and are not part of a pool. Leftover sockets of a server in the range that no longer
/// listens and was not seen accepting are taken for clients'.
pub struct ClientSocketsBuilder<S> {
    range: PortRange,
    is_server: S,
    snapshot: ClientSockets,
    bound: HashSet<SocketAddr>,
    /// Addresses of servers that may no longer listen.
    accepted: HashSet<SocketAddr>,
    listening: PortSet,
}

impl<S: Fn(u16) -> bool> ClientSocketsBuilder<S> {
    /// No sockets yet.
    pub fn new(range: PortRange, is_server: S) -> Self {
        Self {
            range,
            is_server,
            snapshot: ClientSockets::default(),
            bound: HashSet::new(),
            accepted: HashSet::new(),
            listening: PortSet::default(),
        }
    }

    /// Adds a socket.
    pub fn add(&mut self, socket: &Socket) {
        let port = socket.local.port();
        if !self.range.contains(port) {
            return;
        }
        match socket.state {
            SocketState::Holding(hold) if !(self.is_server)(port) => {
                let tuple = (socket.local.ip(), socket.remote);
                self.snapshot.push(tuple, port, hold);
            }
            SocketState::Holding(_) => {
                self.accepted.insert(socket.local);
            }
            SocketState::Bound => {
                self.bound.insert(socket.local);
            }
            SocketState::Listening => {
                self.bound.insert(socket.local);
                self.listening.insert(port);
            }
        }
    }

    /// The sorted snapshot.
    pub fn finish(mut self) -> ClientSockets {
        let Self {
            snapshot,
            listening,
            bound,
            accepted,
            ..
        } = &mut self;
        let is_clients = |socket: &HeldPort| !listening.contains(socket.port);
        snapshot.held.retain(is_clients);
        accepted.retain(|local| !listening.contains(local.port()));
        bound.extend(accepted.drain());
        snapshot.bound = bound.drain().collect();
        snapshot.sort();
        snapshot.held.shrink_to_fit();
        self.snapshot
    }
}

impl ClientSockets {
    /// From all sockets at once: see [`ClientSocketsBuilder`].
    #[cfg(any(test, feature = "samples"))]
    pub fn new(sockets: &[Socket], range: PortRange, is_server: impl Fn(u16) -> bool) -> Self {
        let mut builder = ClientSocketsBuilder::new(range, is_server);
        sockets.iter().for_each(|socket| builder.add(socket));
        builder.finish()
    }

    fn push(&mut self, tuple: PoolAddresses, port: u16, hold: Hold) {
        if let Some((number, ())) = self.tuples.within(tuple.into(), usize::MAX, || ()) {
            self.held.push(HeldPort {
                // There are no more than that, see `CompactMap`.
                tuple: number as u32,
                port,
                hold: Packed::new(hold),
            });
        }
    }

    /// For each port, keeps only the longest hold.
    fn sort(&mut self) {
        self.held.sort_unstable_by_key(HeldPort::place);
        self.held.dedup_by_key(|held| (held.tuple, held.port));
    }

    /// Adds another part of the same snapshot.
    pub fn extend(
        &mut self,
        tuples: impl IntoIterator<Item = (PoolAddresses, PortHolds)>,
        bound: Vec<SocketAddr>,
    ) {
        let mut known = std::mem::take(&mut self.held);
        for (tuple, held) in tuples {
            held.into_iter()
                .for_each(|(port, hold)| self.push(tuple, port, hold));
        }
        self.sort();
        let port = |held: &HeldPort| (held.tuple, held.port);
        let first = self.held.first().map(port);
        let is_in_order = first.is_none() || known.last().map(port) < first;
        known.append(&mut self.held);
        self.held = known;
        if !is_in_order {
            // Merges both.
            self.held.sort_by_key(HeldPort::place);
            self.held.dedup_by_key(|held| port(held));
        }
        self.bound.extend(bound);
    }

    /// Tuples that hold a port: source address and destination.
    pub fn tuples(&self) -> impl Iterator<Item = PoolAddresses> {
        let chunks = self.held.chunk_by(|one, next| one.tuple == next.tuple);
        let numbers = chunks.filter_map(|chunk| chunk.first().map(|held| held.tuple));
        numbers.filter_map(|number| Some(self.tuples.key(number as usize)?.into()))
    }

    /// Number of ports that live sockets hold, by tuple.
    pub fn live(&self) -> impl Iterator<Item = (IpAddr, SocketAddr, u64)> {
        let chunks = self.held.chunk_by(|one, next| one.tuple == next.tuple);
        chunks.filter_map(|chunk| {
            let number = chunk.first()?.tuple;
            let (source, destination) = self.tuples.key(number as usize)?.into();
            let live = chunk.iter().filter(|held| { held.hold } == Packed::LIVE);
            Some((source, destination, live.count() as u64))
        })
    }

    /// The ports held by one tuple.
    pub fn held_by(&self, source: IpAddr, destination: SocketAddr) -> PortHolds {
        let number = self.tuples.number(&(source, destination).into());
        number.map_or_else(Vec::new, |number| self.held_by_number(number))
    }

    fn held_by_number(&self, number: usize) -> PortHolds {
        let from = self
            .held
            .partition_point(|held| (held.tuple as usize) < number);
        let of_it = self.held[from..].iter();
        of_it
            .take_while(|held| held.tuple as usize == number)
            .map(|held| (held.port, { held.hold }.hold()))
            .collect()
    }

    /// The ports held on one address, for any destination: a bind() to any port of that address can't have them. On the
    /// unspecified address: all of them.
    pub fn held_on(&self, source: IpAddr) -> PortHolds {
        let tuples = self.tuples.iter().enumerate();
        let mut held: PortHolds = tuples
            .filter(|(_, (tuple, ()))| {
                source.is_unspecified() || PoolAddresses::from(*tuple).0 == source
            })
            .flat_map(|(number, _)| self.held_by_number(number))
            .collect();
        let length = |hold: &Hold| Reverse(Packed::new(*hold).length());
        held.sort_unstable_by_key(|(port, hold)| (*port, length(hold)));
        held.dedup_by_key(|(port, _)| *port);
        held
    }

    /// Ports of the range that are bound, listened on, or accepted on: they belong to a bind(). (Up to 6.7 no dump
    /// lists sockets that are only bound.)
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// Ports that connect() skips since they belong to a bind(), by the kernel's own table; `None` if that can't be
    /// read. They are those of [`Self::bound`], of sockets that were bound before they connected, and up to 6.7 of
    /// those that are only bound.
    pub fn of_bind(&self) -> Option<&PortSet> {
        self.of_bind.as_ref()
    }

    /// Sets the ports of the kernel's table.
    pub fn set_of_bind(&mut self, ports: Option<PortSet>) {
        self.of_bind = ports;
    }

    /// Ports that connect() skips, as far as known.
    pub fn passed_over(&self) -> PortSet {
        match &self.of_bind {
            Some(ports) => ports.clone(),
            None => self.bound.iter().map(SocketAddr::port).collect(),
        }
    }
}

#[cfg(any(test, feature = "samples"))]
#[allow(clippy::unwrap_used, reason = "only tests are made of them")]
pub mod samples {
    use super::*;
    use crate::event::timestamp::SECOND_NS;

    /// A live socket.
    pub fn live(local: &str, remote: &str) -> Socket {
        Socket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            state: SocketState::Holding(Hold::Live),
        }
    }

    /// A TIME_WAIT with this much time left.
    pub fn left(left_s: u64) -> Hold {
        Hold::TimeWait {
            left_ns: left_s * SECOND_NS,
            in_fin_wait2: false,
        }
    }

    /// A TIME_WAIT.
    pub fn time_wait(local: &str, remote: &str, left_s: u64) -> Socket {
        Socket {
            state: SocketState::Holding(left(left_s)),
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
#[path = "client_sockets_tests.rs"]
mod tests;
