//! The table of events: each kind with its fields, and its text in `trace`. JSON, recordings and their readers,
//! schemas, and the tests of the contract are generated from it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use twtrace_wire::{
    AbortReason, EndCause, EventKind, PortOp, Probe, ResetDirection, ResetReason, ReuseRefusal,
    TcpState,
};

use super::counts_by::CountsBy;
use super::details::{Details, process_name};
use super::errno::Errno;
use super::event_json::JsonLine;
use super::fields::{Field, Fields, Member, facts, fields};
use super::kernel_reason::KernelReason;
use super::parse::{AnyLine, ParseError, Parser};
use super::process::Process;
use super::quantity;
use super::rest::Rest;
use super::text::escape;
use super::words::Word;

facts! {
    /// `time_wait` and `time_wait_overflow`.
    TimeWait: TimeWait | TimeWaitOverflow, since 1, lost by TimeWait;
    /// `reset`
    Reset: Reset, since 1, lost by Reset;
    /// `abort`
    Abort: Abort, since 1, lost by Abort;
    /// `port_alloc`
    PortAlloc: PortAlloc, since 1, lost by PortAlloc;
    /// `time_wait_end`
    TimeWaitEnd: TimeWaitEnd, since 1, lost by TimeWaitEnd;
    /// `no_address`
    NoAddress: NoAddress, since 1, lost by NoAddress;
}

fields! {
    /// Usage of the connection.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flow {
        /// Time since ESTABLISHED, nanoseconds.
        pub connection_ns: Option<u64>,
        /// Time since data was last sent or received, nanoseconds. Like `send_idle_ns`, without the data that caused
        /// the end.
        pub idle_ns: Option<u64>,
        /// Time since any segment of the peer arrived, nanoseconds; for a received RST, before it.
        pub peer_silent_ns: Option<u64>,
        /// Time since this end last sent data (or completed the handshake, if it sent none), nanoseconds. For a
        /// received RST and a timeout, before the data that the peer has not acknowledged: the write that caused it
        /// does not count.
        pub send_idle_ns: Option<u64>,
        /// Payload bytes sent, each counted once.
        pub bytes_sent: Option<u64>,
        /// Payload bytes received in order.
        pub bytes_received: Option<u64>,
        /// True if this end has sent data, and no data of the peer came afterwards; null if it did, or if that is not known.
        pub awaits_answer: Option<bool>,
    }

    /// A mini-socket was created, or refused.
    #[derive(Clone, Debug)]
    pub struct TimeWait {
        /// `time_wait` or `fin_wait2`, the first state of the mini-socket.
        pub state: Option<TcpState>,
        /// The last state of the full socket.
        pub from: Option<TcpState>,
        /// Usage of the connection.
        pub flow: Flow,
        /// Whether no hook saw the creation: it was inferred from the full socket's states.
        pub inferred: bool,
    }

    /// A mini-socket ended. The event's process is the one that created it.
    #[derive(Clone, Debug)]
    pub struct TimeWaitEnd {
        /// How it ended.
        pub cause: EndCause,
        /// Time since it was created, nanoseconds; `None` if that was before tracing.
        pub age_ns: Option<u64>,
        /// Its age when the peer's FIN changed it from FIN_WAIT2 to TIME_WAIT, nanoseconds.
        pub promoted_ns: Option<u64>,
        /// The process whose connect() reused its tuple.
        pub by: Option<Process>,
        /// Whether no hook saw the end: it is presumed from the creation and from dumps of the kernel's sockets.
        pub inferred: bool,
    }

    /// A RST was sent or received.
    #[derive(Clone, Debug)]
    pub struct Reset {
        /// Sent or received.
        pub direction: ResetDirection,
        /// The reason, as determined by twtrace.
        pub reason: ResetReason,
        /// The reason in the kernel's own term.
        pub kernel_reason: Option<KernelReason>,
        /// The state before it.
        pub state: Option<TcpState>,
        /// Usage of the connection.
        pub flow: Flow,
        /// For `data_after_close`: how long after the close the data arrived, nanoseconds.
        pub after_close_ns: Option<u64>,
        /// For `unread_data`: payload bytes that were received and not read. For `data_after_close`: payload bytes of the segment
        /// that came too late.
        pub unread_bytes: Option<u64>,
    }

    /// A connection ended without a RST of either side.
    #[derive(Clone, Debug)]
    pub struct Abort {
        /// The reason.
        pub reason: AbortReason,
        /// The state before it.
        pub state: Option<TcpState>,
        /// Usage of the connection.
        pub flow: Flow,
    }

    /// An ephemeral port allocation.
    #[derive(Clone, Debug)]
    pub struct PortAlloc {
        /// The system call.
        pub op: PortOp,
        /// The requested port, 0 for any.
        pub requested: u16,
        /// Its result.
        pub result: PortResult,
        /// Duration, nanoseconds; `None` if it can't be separated from the handshake.
        pub latency_ns: Option<u64>,
        /// Whether `latency_ns` is the duration of the allocation itself, and not an upper bound.
        pub exact: bool,
        /// TIME_WAITs that a connect() found and whose tuples it could not reuse, by reason; `None` if that is not
        /// seen.
        pub refused_reuse: Option<CountsBy<ReuseRefusal, { ReuseRefusal::COUNT }>>,
        /// The range that a connect() searched instead of the namespace's: IP_LOCAL_PORT_RANGE of its socket.
        pub socket_range: Option<SocketRange>,
    }

    /// A call that failed before it looked for a port, as this host has no such address: bind() of an address that is not
    /// local (`local`), or connect() to one (`remote`) without an address to connect from.
    #[derive(Clone, Debug)]
    pub struct NoAddress {
        /// The system call.
        pub op: PortOp,
        /// Its result.
        pub result: PortResult,
    }
}

impl TimeWait {
    fn describe(&self, details: &mut Details) {
        if let Some(state) = self.state {
            details.add(format_args!("{}", state.word()));
        }
        if let Some(from) = self.from {
            details.add(format_args!("from {}", from.word()));
        }
        if self.inferred {
            details.add(format_args!("inferred"));
        }
        details.time("age", self.flow.connection_ns);
        details.time("idle", self.flow.idle_ns);
        details.bytes(&self.flow);
    }
}

impl TimeWaitEnd {
    fn describe(&self, details: &mut Details) {
        details.add(format_args!("{}", self.cause.word()));
        if self.inferred {
            details.add(format_args!("inferred"));
        }
        if let Some(by) = &self.by {
            details.add(format_args!("by {}", process_name(by)));
        }
        details.time("age", self.age_ns);
        details.time("peer's FIN at", self.promoted_ns);
    }
}

impl Reset {
    fn describe(&self, details: &mut Details) {
        details.add(format_args!(
            "{} {}",
            self.direction.word(),
            self.reason.word()
        ));
        if let Some(reason) = &self.kernel_reason {
            details.add(format_args!("kernel {}", escape(&reason.to_string())));
        }
        if let Some(state) = self.state {
            details.add(format_args!("in {}", state.word()));
        }
        let is_late = self.reason == ResetReason::DataAfterClose;
        if let Some(after_close_ns) = self.after_close_ns.filter(|_| is_late) {
            let after_close = quantity::duration(after_close_ns);
            details.add(format_args!("{after_close} after close"));
        }
        if let Some(unread_bytes) = self.unread_bytes {
            let what = if is_late { "too late" } else { "unread" };
            details.add(format_args!("{} {what}", quantity::bytes(unread_bytes)));
        }
        details.time("age", self.flow.connection_ns);
        // The peer was just heard: its data is what came too late.
        details.silence(&self.flow, !is_late);
        details.bytes(&self.flow);
    }
}

impl Abort {
    fn describe(&self, details: &mut Details) {
        details.add(format_args!("{}", self.reason.word()));
        if let Some(state) = self.state {
            details.add(format_args!("in {}", state.word()));
        }
        details.time("age", self.flow.connection_ns);
        details.silence(&self.flow, true);
        details.bytes(&self.flow);
    }
}

impl PortAlloc {
    /// Whether no ephemeral port was found. A call that asked for one certain port allocates none:
    /// [`Self::is_refused_port`].
    pub fn is_failed_allocation(&self) -> bool {
        self.requested == 0 && self.result != PortResult::Ok
    }

    /// Whether a call that asked for one certain port failed: bind() or listen() with it, or connect() of a socket bound
    /// to it.
    pub fn is_refused_port(&self) -> bool {
        self.requested != 0 && self.result != PortResult::Ok
    }

    fn describe(&self, details: &mut Details) {
        details.add(format_args!("{} {}", self.op.word(), self.result));
        match self.requested {
            0 => details.add(format_args!("any port")),
            port => details.add(format_args!("port {port}")),
        }
        if let Some(latency_ns) = self.latency_ns {
            let at_most = if self.exact { "" } else { "≤" };
            details.add(format_args!("{at_most}{}", quantity::duration(latency_ns)));
        }
        if let Some(SocketRange { low, high }) = self.socket_range {
            details.add(format_args!("in the socket's own range {low}-{high}"));
        }
        if let Some(refused) = self.refused_reuse.filter(|refused| refused.total() > 0) {
            let reasons: Vec<String> = refused
                .counted()
                .map(|(why, number)| format!("{} {number}", why.word()))
                .collect();
            details.add(format_args!("TIME_WAITs in the way: {}", reasons.join(" ")));
        }
    }
}

impl NoAddress {
    fn describe(&self, details: &mut Details) {
        details.add(format_args!("{} {}", self.op.word(), self.result));
        details.add(format_args!(
            "{}",
            match self.op {
                PortOp::Connect => "no address to connect from",
                PortOp::Bind | PortOp::Listen => "not an address of this host",
            }
        ));
    }
}

/// IP_LOCAL_PORT_RANGE. The kernel ignores an end that is 0 or outside the namespace's range.
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

/// Result of an ephemeral port allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortResult {
    /// A port was found.
    Ok,
    /// No port was found, or the call failed.
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
