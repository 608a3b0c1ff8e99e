//! One socket of the kernel's table.

use std::net::SocketAddr;
use std::time::Duration;

use twtrace_wire::TcpState;

/// An existing TCP socket: a full one, a request or a mini-socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketRow {
    /// Its state. A mini-socket that waits for the peer's FIN has FIN_WAIT2; [`Self::is_mini`] distinguishes it from a
    /// full socket. A socket that is only bound has CLOSE (kernels from 6.8 on list these).
    pub state: TcpState,
    /// This host's end. A v4-mapped address is written as IPv4.
    pub local: SocketAddr,
    /// The other end; unspecified, with port 0, for listeners.
    pub remote: SocketAddr,
    /// Whether the addresses are IPv4 ones used through an IPv6 socket.
    pub mapped: bool,
    /// Whether it accepts no IPv4; `None` except for IPv6 sockets that listen or are only bound.
    pub v6only: Option<bool>,
    /// User id of its creator; 0 for mini-sockets.
    pub uid: u32,
    /// As in `socket:[inode]`; 0 if no descriptor refers to it: mini-sockets, orphans, connections that nobody has
    /// accepted yet.
    pub inode: u32,
    /// The kernel's identity of the socket, never reused. A mini-socket has that of its full socket.
    pub cookie: u64,
    /// Its running timer.
    pub timer: Timer,
    /// How often it has sent again what was not acknowledged: in SYN_SENT, its SYN.
    pub retransmits: u8,
    /// Time left on that timer.
    pub expires: Option<Duration>,
    /// When something last arrived; `None` if it was not requested, and for mini-sockets.
    pub times: Option<Times>,
    /// The accept queue; `None` except for listeners.
    pub queue: Option<AcceptQueue>,
}

impl SocketRow {
    /// Whether it is a TIME_WAIT mini-socket, including one that waits for the peer's FIN.
    pub fn is_mini(&self) -> bool {
        self.timer == Timer::TimeWait
    }
}

/// The accept queue of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// Connections in it: Recv-Q in `ss`.
    pub length: u32,
    /// How many it takes: Send-Q in `ss`, the backlog of listen() within `somaxconn`.
    pub backlog: u32,
    /// Connections that it dropped, by overflow or otherwise, since it exists (`sk_drops`); `None` if it was not
    /// requested.
    pub drops: Option<u32>,
}

/// The kernel's timer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// No timer runs.
    Off,
    /// Retransmission, loss probe, or an answer to a SYN.
    Retransmit,
    /// Keepalive, or a full orphan's wait in FIN_WAIT2.
    Keepalive,
    /// The lifetime of a mini-socket.
    TimeWait,
    /// A probe of a closed window.
    WindowProbe,
    /// A timer that this build does not know.
    Other,
}

impl Timer {
    /// From `idiag_timer`.
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Off,
            1 => Self::Retransmit,
            2 => Self::Keepalive,
            3 => Self::TimeWait,
            4 => Self::WindowProbe,
            _ => Self::Other,
        }
    }
}

/// How long ago something arrived from the peer, in steps of the kernel's tick. The kernel counts in 32 bits of
/// milliseconds or ticks: after 49 days or more it begins at 0 again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Since the last payload, or since the handshake. A FIN without payload does not count.
    pub since_data: Duration,
    /// Since the last acceptable acknowledgement, which every segment carries, including a FIN.
    pub since_ack: Duration,
}

/// The sockets of one namespace.
#[derive(Debug)]
pub struct NetnsSockets {
    /// The namespace's inode number.
    pub netns: u32,
    /// Its sockets.
    pub rows: Vec<SocketRow>,
}

#[cfg(any(test, feature = "samples"))]
#[allow(clippy::unwrap_used, reason = "only tests are made of them")]
pub mod samples {
    use super::*;

    /// A socket with a descriptor: its cookie is its inode number.
    pub fn socket(state: TcpState, local: &str, remote: &str, inode: u32) -> SocketRow {
        SocketRow {
            state,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            mapped: false,
            v6only: None,
            uid: 0,
            inode,
            cookie: u64::from(inode),
            timer: Timer::Off,
            retransmits: 0,
            expires: None,
            times: None,
            queue: None,
        }
    }
}
