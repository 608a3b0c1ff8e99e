//! What a stage tells the runner, one JSON line each.

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
    /// The stage is set; it waits for a line on standard input.
    Prepared {
        /// Inode number of its network namespace.
        netns: u64,
        /// CLOCK_MONOTONIC when that was made, nanoseconds: events before it are of another one, which had
        /// the same number.
        since_ns: u64,
    },
    /// The scenario is over; everything is kept until standard input ends.
    Finding(PlayResult),
    /// Standard input has ended: from here on sockets are closed as their processes go.
    Ending(Ending),
}

/// What there was when a stage began to go.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ending {
    /// CLOCK_MONOTONIC, nanoseconds: no event before it is the end's doing.
    pub at_ns: u64,
    /// Sockets that the end may close, reset or kill, and nothing else does.
    pub sockets: Vec<Left>,
}

/// A socket that was there when a stage began to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Local address; mapped ones as IPv4.
    pub local: SocketAddr,
    /// Remote address.
    pub remote: SocketAddr,
    /// A TIME_WAIT: nobody has it open.
    pub is_mini: bool,
}

/// How a scenario went.
#[derive(Debug, Serialize, Deserialize)]
pub enum PlayResult {
    /// It can't be played here.
    Skip {
        /// Why not.
        reason: String,
    },
    /// The kernel took another way: it has to be played again.
    Again {
        /// Which.
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
    /// Lists of events, one of which must be told.
    pub alternatives: Vec<Vec<Expected>>,
    /// TIME_WAITs by process, where they are too many to list.
    pub crowd: Vec<CrowdRow>,
    /// Connections in CLOSE_WAIT that are left at the end; none given: not compared.
    pub close_wait: Vec<ExpectedCloseWait>,
    /// Births that this kernel shows to no eBPF program: at most so many of the crowd may be missing.
    pub hidden_births: u64,
    /// Budgets of local ports that a report must have.
    #[serde(default)]
    pub budgets: Vec<BudgetTruth>,
    /// TIME_WAITs by source and destination, from the kernel's list of sockets; none given: not compared.
    #[serde(default)]
    pub table: Vec<TableRow>,
    /// What a report must say of reuse; none given: not compared.
    #[serde(default)]
    pub reuse: Vec<ReuseTruth>,
    /// The cache of mini-sockets whose memory is compared.
    #[serde(default)]
    pub slab: Option<SlabTruth>,
    /// The kernel's own figures for the namespace, from when tracing began to the end of the scenario.
    pub counters: KernelCounters,
    /// Mini-sockets that were alive when tracing began.
    pub alive_before: u64,
    /// Whether searches for ports that succeed are to be compared.
    pub about_ports: bool,
    /// Whether ends of TIME_WAITs are to be compared.
    pub about_ends: bool,
}

impl Played {
    /// How many births and refusals one of the alternatives has, crowd included.
    pub fn births_and_refusals(&self, alternative: &[Expected]) -> (u64, u64) {
        let count = |kind| alternative.iter().filter(|it| it.kind == kind).count() as u64;
        let crowd: u64 = self.crowd.iter().map(|row| row.births).sum();
        (
            count(EventKind::TimeWait) + crowd,
            count(EventKind::TimeWaitOverflow),
        )
    }
}

/// What a report must say of a budget of local ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetTruth {
    /// Where the client connected to; `None` for the pool of one that binds before.
    pub destination: Option<SocketAddr>,
    /// Whether it is that of sockets with a range of their own.
    pub own_range: bool,
    /// How many ports there are.
    pub capacity: u64,
    /// How many are in TIME_WAIT at the end; `None` where the report ended before.
    pub time_wait: Option<u64>,
    /// Searches that found no port, until the report ended.
    pub failures: u64,
    /// When a connect() first found no port after the report ended, CLOCK_REALTIME in nanoseconds; `None` for never.
    pub ran_out_ns: Option<u64>,
}

/// TIME_WAITs that one process's connects to one destination took, or could not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReuseTruth {
    /// Comm of the leader.
    pub comm: String,
    /// Where it connected to.
    pub destination: SocketAddr,
    /// Tuples taken.
    pub taken: u64,
    /// Connects that met one they could not take.
    pub hindered: u64,
    /// TIME_WAITs that they met, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// TIME_WAITs from one source to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRow {
    /// This host's address.
    pub source: IpAddr,
    /// `address:port` of a client's target, `:port` of a server.
    pub destination: String,
    /// Which end it is.
    pub side: Side,
    /// How many.
    pub count: u64,
}

/// What is known of a cache in /proc/slabinfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlabTruth {
    /// Its name.
    pub cache: String,
    /// Mini-sockets that the scenario keeps in it.
    pub at_least: u64,
    /// The process that made all of them.
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
    /// How many.
    pub births: u64,
}

/// Connections to one destination that the peer has closed and this process has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedCloseWait {
    /// Thread-group id; `None` where nobody has accepted them.
    pub pid: Option<i32>,
    /// Comm of the leader.
    pub comm: Option<String>,
    /// Which end it is.
    pub side: Side,
    /// `:port` of a server, `address:port` for a client.
    pub destination: String,
    /// How many.
    pub count: u64,
    /// Those that another process has open too.
    pub shared: u64,
    /// Age of the youngest, nanoseconds.
    pub at_least_ns: u64,
}
