//! The plan: the lives of connections, drawn from a seed. The same seed, number and connection give the same script, in
//! any process.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use fastrand::Rng;

use super::forge::Forged;

/// Number of a life: unique within a storm, so that addresses identify it.
pub type Life = u32;

/// The first number: below are other addresses of 127.0.0.0/8.
pub const FIRST_LIFE: Life = 1 << 8;
/// Number of lives that have an address.
pub const MAX_LIVES: Life = (247 << 16) - 1;
/// The second byte of the addresses of the first 65,536 lives.
const FIRST_NET: u8 = 8;
/// Network of the clients' IPv6 addresses; `lo` accepts all of it.
pub const V6_NET: Ipv6Addr = Ipv6Addr::new(0xfd57, 0, 0, 0, 0, 0, 0, 0);
/// Its prefix length.
pub const V6_NET_BITS: u8 = 64;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end that connects: its address identifies the life.
    Client,
    /// The end that accepts.
    Server,
}

impl End {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// An action of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepAction {
    /// connect()
    Connect,
    /// accept()
    Accept,
    /// Sends this many bytes, if the buffer has room for them.
    Write(u16),
    /// Receives all available data.
    Read,
    /// shutdown(SHUT_WR)
    ShutdownWrite,
    /// shutdown(SHUT_RDWR)
    ShutdownBoth,
    /// close()
    Close,
    /// close() in a thread of its own.
    CloseInThread,
    /// close() with SO_LINGER {on, 0}
    Abort,
    /// connect(AF_UNSPEC), then close()
    Disconnect,
    /// Passes the descriptor to another process, which runs this action; the own descriptor is closed at once.
    Hand(LastAct),
    /// A segment that its TCP does not send, in its name.
    Forge(Forged),
    /// Closes a listener, with all connections in its queue. Only in ledgers.
    CloseListener,
}

/// How a process that was given a descriptor ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAct {
    /// close()
    Close,
    /// close() with SO_LINGER {on, 0}
    Abort,
    /// exit() closes it.
    Exit,
    /// SIGKILL closes it.
    Killed,
}

impl StepAction {
    /// Whether the connection is over for this end, as far as this descriptor is concerned.
    pub fn is_last(self) -> bool {
        matches!(
            self,
            Self::Close | Self::CloseInThread | Self::Abort | Self::Disconnect | Self::Hand(_)
        )
    }

    /// Whether it may cause a FIN or a RST.
    pub fn may_end(self) -> bool {
        self.is_last() || matches!(self, Self::ShutdownWrite | Self::ShutdownBoth)
    }
}

/// An action of an end, with a delay after the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Microseconds.
    pub delay_us: u32,
    pub action: StepAction,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us {:?}", self.delay_us, self.action)
    }
}

/// The server that a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// The server that listens with sockets of IPv4 and IPv6.
    Separate,
    /// The server that accepts IPv4 through an IPv6 socket.
    Dual,
    /// A server with a short queue, which accepts at random and repeatedly closes its listener.
    Flaky,
    /// No listener.
    Nobody,
}

impl ServerKind {
    /// Its port.
    pub fn port(self) -> u16 {
        match self {
            Self::Separate => 7000,
            Self::Dual => 7001,
            Self::Flaky => 7002,
            Self::Nobody => 7003,
        }
    }
}

/// A client's part of a life, except for its actions on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifePlan {
    /// The server to connect to.
    pub server: ServerKind,
    /// Whether it connects by IPv6.
    pub is_v6: bool,
    /// A port of its own, and how long after the end of each connection it opens the next from that port, microseconds.
    pub again: Option<(u16, u32)>,
    /// Whether its ends send segments that their own TCP has not sent.
    pub forges: bool,
}

/// Connections of a life that has more than one.
pub const CONNECTIONS: u8 = 3;

/// The delays that matter: none, less than a segment's travel time, before and after a delayed ACK's 40 ms, and far
/// beyond it.
const DELAYS_US: [(u32, u32); 6] = [
    (40, 0),
    (20, 100),
    (15, 500),
    (12, 5_000),
    (9, 45_000),
    (4, 200_000),
];

fn delay(rng: &mut Rng) -> u32 {
    pick(rng, &DELAYS_US)
}

/// Picks one of several, each with its weight.
fn pick<T: Copy>(rng: &mut Rng, of: &[(u32, T)]) -> T {
    let all: u32 = of.iter().map(|(weight, _)| weight).sum();
    let mut left = rng.u32(..all);
    for (weight, what) in of {
        match left.checked_sub(*weight) {
            Some(less) => left = less,
            None => return *what,
        }
    }
    of[0].1
}

fn rng(seed: u64, life: Life, salt: u64) -> Rng {
    // Adjacent numbers must not give similar sequences: one draw mixes each.
    let first = Rng::with_seed(seed ^ (u64::from(life) << 20) ^ salt).u64(..);
    Rng::with_seed(first)
}

/// The client's part.
pub fn plan(seed: u64, life: Life) -> LifePlan {
    let mut rng = rng(seed, life, 0xc11e);
    let server = pick(
        &mut rng,
        &[
            (60, ServerKind::Separate),
            (30, ServerKind::Dual),
            (6, ServerKind::Flaky),
            (4, ServerKind::Nobody),
        ],
    );
    let again = matches!(server, ServerKind::Separate | ServerKind::Dual) && rng.u8(..100) < 4;
    LifePlan {
        server,
        // The flaky server listens on IPv4 only.
        is_v6: server != ServerKind::Flaky && rng.u8(..100) < 30,
        again: again.then(|| (rng.u16(20_000..30_000), delay(&mut rng))),
        forges: rng.u8(..100) < 4,
    }
}

/// The actions of one end on one connection of a life, from its start; the last step closes the descriptor or passes it
/// on.
pub fn script(seed: u64, life: Life, connection: u8, end: End) -> Vec<Step> {
    let salt = match end {
        End::Client => 0x0c,
        End::Server => 0x5e,
    };
    let mut rng = rng(seed, life, salt << 8 | u64::from(connection));
    let mut steps = Vec::new();
    let mut can_write = true;
    for _ in 0..rng.u8(..5) {
        let action = pick(
            &mut rng,
            &[
                (40, StepAction::Write(1)),
                (8, StepAction::Write(4_000)),
                (34, StepAction::Read),
                (14, StepAction::ShutdownWrite),
                (4, StepAction::ShutdownBoth),
            ],
        );
        // A write after that would only fail with EPIPE.
        if !can_write && action != StepAction::Read {
            continue;
        }
        can_write &= matches!(action, StepAction::Write(_) | StepAction::Read);
        steps.push(Step {
            delay_us: delay(&mut rng),
            action,
        });
    }
    let action = pick(
        &mut rng,
        &[
            (640, StepAction::Close),
            (200, StepAction::Abort),
            (20, StepAction::CloseInThread),
            (60, StepAction::Disconnect),
            (30, StepAction::Hand(LastAct::Close)),
            (20, StepAction::Hand(LastAct::Abort)),
            (20, StepAction::Hand(LastAct::Exit)),
            (10, StepAction::Hand(LastAct::Killed)),
        ],
    );
    steps.push(Step {
        delay_us: delay(&mut rng),
        action,
    });
    if plan(seed, life).forges {
        for _ in 0..rng.usize(..3) {
            let forged = Forged::ALL[rng.usize(..Forged::ALL.len())];
            let step = Step {
                delay_us: delay(&mut rng),
                action: StepAction::Forge(forged),
            };
            // Before the last step.
            steps.insert(rng.usize(..steps.len()), step);
        }
    }
    steps
}

/// The address of a life's client.
pub fn address(life: Life, is_v6: bool) -> IpAddr {
    let [_, high, middle, low] = life.to_be_bytes();
    if is_v6 {
        let mut octets = V6_NET.octets();
        octets[12..].copy_from_slice(&life.to_be_bytes());
        return Ipv6Addr::from(octets).into();
    }
    Ipv4Addr::new(127, FIRST_NET + high, middle, low).into()
}

/// The life whose client has this address.
pub fn life_at(address: IpAddr) -> Option<Life> {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [127, net, middle, low] if net >= FIRST_NET => {
                Some(Life::from_be_bytes([0, net - FIRST_NET, middle, low]))
            }
            _ => None,
        },
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let is_ours = octets[..8] == V6_NET.octets()[..8] && octets[8..12] == [0; 4];
            let life: [u8; 4] = octets[12..].try_into().ok()?;
            is_ours.then(|| Life::from_be_bytes(life))
        }
    }
}

/// The life that a pair of addresses belongs to, and which of its ends the first one is.
pub fn end_of(local: SocketAddr, remote: SocketAddr) -> Option<(Life, End)> {
    let client = life_at(local.ip()).map(|life| (life, End::Client));
    client.or_else(|| life_at(remote.ip()).map(|life| (life, End::Server)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_their_lives() {
        for life in [FIRST_LIFE, 65_535, 65_536, MAX_LIVES] {
            for is_v6 in [false, true] {
                assert_eq!(life_at(address(life, is_v6)), Some(life));
            }
        }
        for other in ["127.0.0.1", "127.7.255.255", "10.0.0.1", "::1", "fd58::1"] {
            assert_eq!(life_at(other.parse().unwrap()), None, "{other}");
        }
        let (client, server) = (
            SocketAddr::new(address(300, false), 1),
            "127.0.0.1:7000".parse().unwrap(),
        );
        assert_eq!(end_of(client, server), Some((300, End::Client)));
        assert_eq!(end_of(server, client), Some((300, End::Server)));
        assert_eq!(end_of(server, server), None);
    }

    #[test]
    fn a_seed_gives_the_same_lives_again() {
        let scripts = |seed| {
            (0..50)
                .map(|life| (plan(seed, life), script(seed, life, 0, End::Client)))
                .collect::<Vec<_>>()
        };
        assert_eq!(scripts(1), scripts(1));
        assert_ne!(scripts(1), scripts(2));
    }

    #[test]
    fn only_the_last_step_is_a_last_one() {
        for life in 0..2_000 {
            let script = script(7, life, 1, End::Server);
            let (last, rest) = script.split_last().unwrap();
            assert!(last.action.is_last());
            assert!(rest.iter().all(|step| !step.action.is_last()));
        }
    }

    #[test]
    fn every_kind_of_life_occurs() {
        let scripts: Vec<_> = (0..5_000)
            .map(|life| script(3, life, 0, End::Client))
            .collect();
        let occurs = |action| scripts.iter().flatten().any(|step| step.action == action);
        for last in [
            LastAct::Close,
            LastAct::Abort,
            LastAct::Exit,
            LastAct::Killed,
        ] {
            assert!(occurs(StepAction::Hand(last)));
        }
        for forged in Forged::ALL {
            assert!(occurs(StepAction::Forge(forged)));
        }
        for action in [
            StepAction::Close,
            StepAction::Abort,
            StepAction::CloseInThread,
            StepAction::Disconnect,
            StepAction::ShutdownBoth,
        ] {
            assert!(occurs(action));
        }
        let plans: Vec<_> = (0..5_000).map(|life| plan(3, life)).collect();
        assert!(plans.iter().any(|plan| plan.again.is_some()));
        assert!(plans.iter().any(|plan| plan.is_v6));
        assert!(plans.iter().any(|plan| plan.forges));
        assert!(plans.iter().any(|plan| plan.server == ServerKind::Flaky));
        assert!(plans.iter().any(|plan| plan.server == ServerKind::Nobody));
    }
}
