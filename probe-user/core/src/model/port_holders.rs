//! Which sockets have a certain local port, and whose they are: sampled after a call for that port has failed.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use twtrace_wire::{Side, TcpState};

use crate::event::{Process, words};

/// Maximum number of sockets of one port that are kept.
pub const MAX_HOLDERS: usize = 64;
/// Maximum number of processes of one socket that are kept.
pub const MAX_PROCESSES: usize = 8;

/// The sockets with one local port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortHolders {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The local port.
    pub port: u16,
    /// Its sockets: listeners and sockets that are only bound, then connections, then TIME_WAITs, the longest first.
    pub sockets: Vec<PortHolder>,
    /// Sockets beyond [`MAX_HOLDERS`].
    pub further: u64,
    /// Why they are not known.
    pub why: Option<String>,
}

/// A socket, and whose it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortHolder {
    /// What it is.
    pub kind: HolderKind,
    /// Its state; a socket that is only bound has CLOSE.
    #[serde(with = "words")]
    pub state: TcpState,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end; unspecified for listeners and bound sockets.
    pub remote: SocketAddr,
    /// Whether it accepts no IPv4.
    #[serde(default)]
    pub v6only: bool,
    /// Time until a TIME_WAIT ends, nanoseconds.
    pub left_ns: Option<u64>,
    /// Which end it is or was, of a TIME_WAIT that was seen when it was created, or of a port that connect() chose.
    #[serde(with = "words")]
    pub side: Side,
    /// The processes that have it open; for a TIME_WAIT, the one that created it.
    pub processes: Vec<Process>,
    /// Processes beyond [`MAX_PROCESSES`].
    #[serde(default)]
    pub further_processes: u64,
    /// Why there is none.
    pub unattributed: Option<NoPortHolder>,
}

impl PortHolders {
    /// Whether all sockets are known and connected, and the side of one is not known: the kernel's table of ports may show it.
    pub fn may_be_of_connect(&self) -> bool {
        let is_connected =
            |it: &PortHolder| matches!(it.kind, HolderKind::Connection | HolderKind::TimeWait);
        self.further == 0
            && self.sockets.iter().all(is_connected)
            && self.sockets.iter().any(|it| it.side == Side::Unknown)
    }

    /// The port does not belong to a bind() in the kernel's table of ports: connect() chose it, and its connections are those
    /// of clients. A listener or bound socket may share such a port with them: then they may be either.
    pub fn are_of_connect(&mut self) {
        if !self.may_be_of_connect() {
            return;
        }
        for socket in &mut self.sockets {
            if socket.side == Side::Unknown {
                socket.side = Side::Client;
            }
        }
    }
}

/// What a socket is to others that want its port.
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
pub enum HolderKind {
    /// It listens.
    Listener,
    /// It is bound, and neither listens nor is connected.
    Bound,
    /// It is a connection, in any state.
    Connection,
    /// It is a TIME_WAIT, or waits in FIN_WAIT2 without a full socket.
    TimeWait,
}

impl HolderKind {
    /// The word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Bound => "bound",
            Self::Connection => "connection",
            Self::TimeWait => "time_wait",
        }
    }
}

/// Why no process is known for a socket.
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
pub enum NoPortHolder {
    /// No descriptor refers to it: its process has closed it, or has not accepted it yet.
    NoDescriptor,
    /// No descriptor in /proc that may be read refers to it.
    Unknown,
    /// It is a TIME_WAIT whose creation was not seen: it is older than the trace, or its event was lost.
    NotSeen,
}

impl NoPortHolder {
    /// The word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoDescriptor => "no_descriptor",
            Self::Unknown => "unknown",
            Self::NotSeen => "not_seen",
        }
    }

    /// The same as a part of a sentence.
    pub const fn why(self) -> &'static str {
        match self {
            Self::NoDescriptor => "no process has a descriptor of it",
            Self::Unknown => "its process could not be read from /proc",
            Self::NotSeen => "it was created before tracing began, or its event was lost",
        }
    }
}

/// Whether sockets bound to these two addresses and one port compete. [`PortHolder::v6only`] is that of the first.
pub fn overlap(one: IpAddr, is_v6only: bool, other: IpAddr) -> bool {
    let covers = |any: IpAddr, it: IpAddr| match any {
        IpAddr::V4(any) => any.is_unspecified() && it.is_ipv4(),
        // Unless it is for IPv6 only, it takes IPv4 too.
        IpAddr::V6(any) => any.is_unspecified(),
    };
    if is_v6only && other.is_ipv4() {
        return false;
    }
    one == other || covers(one, other) || covers(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_a_port_that_connect_chose_are_those_of_clients() {
        let socket = |kind, side| PortHolder {
            kind,
            state: TcpState::Established,
            local: "127.0.0.1:40000".parse().unwrap(),
            remote: "127.0.0.1:80".parse().unwrap(),
            v6only: false,
            left_ns: None,
            side,
            processes: Vec::new(),
            further_processes: 0,
            unattributed: None,
        };
        let sides = |sockets: Vec<PortHolder>, further| {
            let mut holders = PortHolders {
                netns: 1,
                port: 40_000,
                sockets,
                further,
                why: None,
            };
            holders.are_of_connect();
            let sockets = holders.sockets.iter();
            sockets.map(|it| it.side).collect::<Vec<_>>()
        };
        let open = || socket(HolderKind::Connection, Side::Unknown);
        let seen = || socket(HolderKind::TimeWait, Side::Server);
        assert_eq!(sides(vec![open(), seen()], 0), [Side::Client, Side::Server]);
        assert_eq!(sides(vec![open()], 1), [Side::Unknown]);
        let bound = socket(HolderKind::Bound, Side::Unknown);
        assert_eq!(sides(vec![bound, open()], 0), [Side::Unknown; 2]);
    }

    #[test]
    fn addresses_compete_if_one_covers_the_other() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        for (one, other, expected) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "0.0.0.0", true),
            ("0.0.0.0", "10.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("::", "10.0.0.1", true),
            ("::", "0.0.0.0", true),
            ("::1", "::", true),
            ("::1", "::2", false),
        ] {
            assert_eq!(
                overlap(ip(one), false, ip(other)),
                expected,
                "{one} {other}"
            );
        }
        assert!(!overlap(ip("::"), true, ip("0.0.0.0")));
        assert!(overlap(ip("::"), true, ip("::1")));
    }
}
