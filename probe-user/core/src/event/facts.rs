//! What each kind of event tells beyond the common fields.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use twtrace_wire::{
    AbortReason, EndCause, PortOp, ResetDirection, ResetReason, ReuseRefusal, TcpState,
};

use super::by::By;
use super::errno::Errno;
use super::kernel_reason::KernelReason;
use super::process::Process;
use super::words;

/// The fields of one kind of event.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Facts {
    /// `time_wait` and `time_wait_overflow`.
    TimeWait(TimeWait),
    /// `reset`
    Reset(Reset),
    /// `abort`
    Abort(Abort),
    /// `port_alloc`
    PortAlloc(PortAlloc),
    /// `time_wait_end`
    TimeWaitEnd(TimeWaitEnd),
}

/// How the connection had been used.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Time since ESTABLISHED, nanoseconds.
    pub connection_ns: Option<u64>,
    /// Time since data last went either way, nanoseconds. As `send_idle_ns`, without the data that provoked what ended it.
    pub idle_ns: Option<u64>,
    /// Time since any segment of the peer's came, nanoseconds; of a RST received, before it.
    pub peer_silent_ns: Option<u64>,
    /// Time since this end last sent data (or shook hands, where it had sent none), nanoseconds. Of a RST received and of a
    /// time-out, before the data that the peer has not acknowledged: the write that provoked it does not count.
    pub send_idle_ns: Option<u64>,
    /// Payload bytes sent, each counted once.
    pub bytes_sent: Option<u64>,
    /// Payload bytes received in order.
    pub bytes_received: Option<u64>,
}

/// A mini-socket was made, or refused.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct TimeWait {
    /// `time_wait` or `fin_wait2`, as the mini-socket began.
    #[serde(serialize_with = "words::serialize_option")]
    #[schemars(with = "Option<crate::event::schema::WordOf<TcpState>>")]
    pub state: Option<TcpState>,
    /// The state the full socket left.
    #[serde(serialize_with = "words::serialize_option")]
    #[schemars(with = "Option<crate::event::schema::WordOf<TcpState>>")]
    pub from: Option<TcpState>,
    /// How the connection had been used.
    #[serde(flatten)]
    pub flow: Flow,
    /// Whether no hook saw it being made: deduced from the full socket's states.
    pub inferred: bool,
}

/// A mini-socket went. The event's process is the one that made it.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct TimeWaitEnd {
    /// How.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<EndCause>")]
    pub cause: EndCause,
    /// Time since it was made, nanoseconds; `None` where that was before tracing.
    pub age_ns: Option<u64>,
    /// Its age when the peer's FIN made a TIME_WAIT of one that had begun in FIN_WAIT2, nanoseconds.
    pub promoted_ns: Option<u64>,
    /// Whose connect() took its tuple.
    pub by: Option<Process>,
    /// Whether no hook saw it go: presumed from its birth and from dumps of the kernel's sockets.
    pub inferred: bool,
}

/// A RST went out or came in.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Reset {
    /// Which way.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<ResetDirection>")]
    pub direction: ResetDirection,
    /// Why, as twtrace judges it.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<ResetReason>")]
    pub reason: ResetReason,
    /// Why, in the kernel's own word.
    pub kernel_reason: Option<KernelReason>,
    /// The state before it.
    #[serde(serialize_with = "words::serialize_option")]
    #[schemars(with = "Option<crate::event::schema::WordOf<TcpState>>")]
    pub state: Option<TcpState>,
    /// How the connection had been used.
    #[serde(flatten)]
    pub flow: Flow,
    /// Of `data_after_close`: how long after the close that data came, nanoseconds.
    pub after_close_ns: Option<u64>,
}

/// A connection died without a RST of either side.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Abort {
    /// Why.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<AbortReason>")]
    pub reason: AbortReason,
    /// The state before it.
    #[serde(serialize_with = "words::serialize_option")]
    #[schemars(with = "Option<crate::event::schema::WordOf<TcpState>>")]
    pub state: Option<TcpState>,
    /// How the connection had been used.
    #[serde(flatten)]
    pub flow: Flow,
}

/// A search for a local port.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct PortAlloc {
    /// The system call.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<PortOp>")]
    pub op: PortOp,
    /// The port asked for, 0 for any.
    pub requested: u16,
    /// How it went.
    pub result: PortResult,
    /// How long it took, nanoseconds; `None` where that can't be told from the handshake.
    pub latency_ns: Option<u64>,
    /// Whether `latency_ns` is that of the search itself, and not an upper bound.
    pub exact: bool,
    /// TIME_WAITs that a connect() met and whose tuples it could not take, by reason; `None` where that is
    /// not seen.
    pub refused_reuse: Option<By<ReuseRefusal, { ReuseRefusal::COUNT }>>,
    /// The range that a connect() looked through in place of the namespace's: IP_LOCAL_PORT_RANGE of its socket.
    pub socket_range: Option<SocketRange>,
}

/// IP_LOCAL_PORT_RANGE. The kernel passes over an end that is 0 or outside of the namespace's range.
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
pub struct SocketRange {
    /// The lowest port, or 0.
    pub low: u16,
    /// The highest port, or 0.
    pub high: u16,
}

/// How a search for a port went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortResult {
    /// A port was found.
    Ok,
    /// None was.
    Failed(Errno),
}

impl fmt::Display for PortResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Failed(errno) => errno.fmt(f),
        }
    }
}

impl Serialize for PortResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
