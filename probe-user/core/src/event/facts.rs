//! The table of events: each kind with its fields, and what `trace` says of it. JSON, recordings and their readers, schemas,
//! and the tests of the contract are made of this.

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
}

fields! {
    /// How the connection had been used.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    #[derive(Clone, Debug)]
    pub struct TimeWait {
        /// `time_wait` or `fin_wait2`, as the mini-socket began.
        pub state: Option<TcpState>,
        /// The state the full socket left.
        pub from: Option<TcpState>,
        /// How the connection had been used.
        pub flow: Flow,
        /// Whether no hook saw it being made: deduced from the full socket's states.
        pub inferred: bool,
    }

    /// A mini-socket went. The event's process is the one that made it.
    #[derive(Clone, Debug)]
    pub struct TimeWaitEnd {
        /// How it ended.
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
    #[derive(Clone, Debug)]
    pub struct Reset {
        /// Which way.
        pub direction: ResetDirection,
        /// Why, as twtrace judges it.
        pub reason: ResetReason,
        /// Why, in the kernel's own word.
        pub kernel_reason: Option<KernelReason>,
        /// The state before it.
        pub state: Option<TcpState>,
        /// How the connection had been used.
        pub flow: Flow,
        /// Of `data_after_close`: how long after the close that data came, nanoseconds.
        pub after_close_ns: Option<u64>,
    }

    /// A connection died without a RST of either side.
    #[derive(Clone, Debug)]
    pub struct Abort {
        /// Why.
        pub reason: AbortReason,
        /// The state before it.
        pub state: Option<TcpState>,
        /// How the connection had been used.
        pub flow: Flow,
    }

    /// A search for a local port.
    #[derive(Clone, Debug)]
    pub struct PortAlloc {
        /// The system call.
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
        pub refused_reuse: Option<CountsBy<ReuseRefusal, { ReuseRefusal::COUNT }>>,
        /// The range that a connect() looked through in place of the namespace's: IP_LOCAL_PORT_RANGE of its socket.
        pub socket_range: Option<SocketRange>,
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
        details.time("age", self.flow.connection_ns);
        // The peer has just been heard: its data is what came too late.
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
