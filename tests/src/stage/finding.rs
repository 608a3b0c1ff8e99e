//! Messages of a stage to the runner, one JSON line each.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};
use twtrace_wire::EventKind;

use crate::{
    expect::{Expected, Side},
    sys::proc_net::KernelCounters,
};

/// A line from a stage.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The stage is set up; it waits for a line on standard input.
    Prepared {
        /// Inode number of its network namespace.
        netns: u64,
        /// CLOCK_MONOTONIC when the namespace was created, nanoseconds: earlier events belong to another one with the
        /// same number.
        since_ns: u64,
    },
    /// The scenario is over; everything is kept until standard input is closed.
    Finding(PlayResult),
    /// Standard input was closed: from here on sockets are closed as their processes exit.
    Ending(Ending),
}

/// What existed when a stage began to end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ending {
    /// CLOCK_MONOTONIC, nanoseconds: the end caused no event before this time.
    pub at_ns: u64,
    /// Sockets that the end may close, reset or destroy, and nothing else does.
    pub sockets: Vec<Left>,
}

/// A socket that existed when a stage began to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Local address; mapped addresses as IPv4.
    pub local: SocketAddr,
    /// Remote address.
    pub remote: SocketAddr,
    /// A TIME_WAIT: no process has it open.
    pub is_mini: bool,
}

/// Result of a scenario.
#[derive(Debug, Serialize, Deserialize)]
pub enum PlayResult {
    /// It can't be played here.
    Skip {
        /// Why not.
        reason: String,
    },
    /// The kernel took another path: it has to be played again.
    Again {
        /// Which path.
        reason: String,
    },
    /// The traffic itself failed.
    Broken {
        /// What failed, as one line.
        error: String,
    },
    /// It was played.
    Played(Box<Played>),
}

/// The truth of a scenario.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Played {
    /// Lists of events, one of which must be reported.
    pub alternatives: Vec<Vec<Expected>>,
    /// TIME_WAITs by process, if there are too many to list.
    pub crowd: Vec<CrowdRow>,
    /// Connections in CLOSE_WAIT that are left at the end; empty: not compared.
    pub close_wait: Vec<ExpectedCloseWait>,
    /// Births that this kernel shows to no eBPF program: at most this many of the crowd may be missing.
    pub hidden_births: u64,
    /// Port pools that a report must have.
    #[serde(default)]
    pub budgets: Vec<BudgetTruth>,
    /// TIME_WAITs by source and destination, from the kernel's list of sockets; empty: not compared.
    #[serde(default)]
    pub table: Vec<TableRow>,
    /// What a report must contain about reuse; empty: not compared.
    #[serde(default)]
    pub reuse: Vec<ReuseTruth>,
    /// The cache of mini-sockets whose memory is compared.
    #[serde(default)]
    pub slab: Option<SlabTruth>,
    /// The kernel's own figures for the namespace, from the start of tracing to the end of the scenario.
    pub counters: KernelCounters,
    /// Mini-sockets that were alive when tracing began.
    pub alive_before: u64,
    /// Whether successful port allocations are compared.
    pub about_ports: bool,
    /// Whether ends of TIME_WAITs are compared.
    pub about_ends: bool,
}

impl Played {
    /// Number of births and refusals in one of the alternatives, including the crowd.
    pub fn births_and_refusals(&self, alternative: &[Expected]) -> (u64, u64) {
        let count = |kind| alternative.iter().filter(|it| it.kind == kind).count() as u64;
        let crowd: u64 = self.crowd.iter().map(|row| row.births).sum();
        (
            count(EventKind::TimeWait) + crowd,
            count(EventKind::TimeWaitOverflow),
        )
    }
}

/// What a report must contain about a port pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetTruth {
    /// The client's destination; `None` for the pool of a client that binds before connect().
    pub destination: Option<SocketAddr>,
    /// Whether it is the pool of sockets with a range of their own.
    pub own_range: bool,
    /// Number of ports.
    pub capacity: u64,
    /// Ports in TIME_WAIT at the end; `None` if the report ended before.
    pub time_wait: Option<u64>,
    /// Port allocations that failed, until the report ended.
    pub failures: u64,
    /// When a connect() first found no port after the report ended, CLOCK_REALTIME in nanoseconds; `None` if never.
    pub ran_out_ns: Option<u64>,
}

/// TIME_WAITs that one process's connects to one destination reused, or could not reuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReuseTruth {
    /// Comm of the leader.
    pub comm: String,
    pub destination: SocketAddr,
    /// Tuples reused.
    pub taken: u64,
    /// Connects that found one they could not reuse.
    pub hindered: u64,
    /// TIME_WAITs that they found, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// TIME_WAITs from one source to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRow {
    /// Address of this host.
    pub source: IpAddr,
    /// `address:port` of a client's target, `:port` of a server.
    pub destination: String,
    /// Which end it is.
    pub side: Side,
    /// Number of TIME_WAITs.
    pub count: u64,
}

/// What is known of a cache in /proc/slabinfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlabTruth {
    /// Its name.
    pub cache: String,
    /// Mini-sockets that the scenario keeps in it.
    pub at_least: u64,
    /// The process that created all of them.
    pub maker: i32,
}

/// TIME_WAITs of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrowdRow {
    /// Thread-group id; `None` for programs whose pid is not known.
    pub pid: Option<i32>,
    /// Comm of the leader.
    pub comm: String,
    /// Which end it was.
    pub side: Side,
    /// Number of TIME_WAITs.
    pub births: u64,
}

/// Connections to one destination that the peer has closed and this process has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedCloseWait {
    /// Thread-group id; `None` if nobody has accepted them.
    pub pid: Option<i32>,
    /// Comm of the leader.
    pub comm: Option<String>,
    /// Which end it is.
    pub side: Side,
    /// `:port` of a server, `address:port` for a client.
    pub destination: String,
    /// Number of connections.
    pub count: u64,
    /// Number of those that another process also has open.
    pub shared: u64,
    /// Age of the youngest, nanoseconds.
    pub at_least_ns: u64,
}
