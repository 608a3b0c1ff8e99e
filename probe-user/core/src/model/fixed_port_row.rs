//! Calls of one command for one fixed port, and who had it: a row of the report.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use twtrace_wire::{PortOp, Side, Unattributed};

use super::port_holders::{HolderKind, NoPortHolder};
use crate::event::errno::Errno;
use crate::event::{Process, words};

/// The calls of one command for one port, and who had it.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct FixedPortRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many earlier namespaces had this number since tracing began.
    #[serde(skip_serializing_if = "crate::event::is_first")]
    pub netns_nth: u32,
    /// The port.
    pub port: u16,
    /// The process that wanted it, at its latest call.
    pub process: Option<Process>,
    /// Why none is known.
    #[serde(serialize_with = "words::serialize_option")]
    #[schemars(with = "Option<crate::event::schema::WordOf<Unattributed>>")]
    pub unattributed: Option<Unattributed>,
    /// Number of processes of its name that wanted it; those that come again after another one count again.
    pub processes: u64,
    /// The calls that failed.
    pub calls: Vec<FixedPortCalls>,
    /// Local addresses that they named.
    pub addresses: Vec<IpAddr>,
    /// Time from the first to the last call, nanoseconds.
    pub lasted_ns: u64,
    /// When the sockets of the port were listed, nanoseconds after the first call; `None` if they were not. Negative if
    /// that was before it.
    pub checked_ns: Option<i64>,
    /// Why they are not known.
    pub why: Option<String>,
    /// Sockets that were in the way then, by kind and process.
    pub holders: Vec<FixedPortHolder>,
    /// Whether calls failed after the sockets were listed.
    #[serde(skip)]
    pub failed_after_check: bool,
}

/// Calls of one kind.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, Serialize)]
pub struct FixedPortCalls {
    /// The system call.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<PortOp>")]
    pub op: PortOp,
    /// Its error.
    #[serde(serialize_with = "serialize_errno")]
    #[schemars(with = "String")]
    pub errno: Errno,
    /// Number of calls.
    pub count: u64,
}

fn serialize_errno<S: serde::Serializer>(errno: &Errno, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(errno)
}

/// Sockets of one kind and process that were in the way.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct FixedPortHolder {
    /// What they are.
    pub kind: HolderKind,
    /// The process that has them open; for TIME_WAITs, the one that created them.
    pub process: Option<Process>,
    /// Other processes that have the first of them open too.
    pub shared_by: u64,
    /// Why no process is known.
    pub unattributed: Option<NoPortHolder>,
    /// Which end they are or were: of TIME_WAITs that were seen when they were created, and of a port that connect() chose.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<Side>")]
    pub side: Side,
    /// Number of sockets.
    pub count: u64,
    /// This end of one of them.
    pub local: SocketAddr,
    /// The other end of one of them; null for listeners and bound sockets.
    pub remote: Option<SocketAddr>,
    /// Time until the last of the TIME_WAITs ends, nanoseconds after the sockets were listed.
    pub left_ns: Option<u64>,
    /// Whether one of them is connected to itself.
    pub is_self_connected: bool,
    /// Whether the process is the one that wanted the port.
    pub is_own: bool,
}
