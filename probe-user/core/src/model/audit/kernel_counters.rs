//! The kernel's own counters of TIME_WAITs and of connections that failed, by network namespace.

use serde::{Deserialize, Serialize};

/// Counters of one network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// TcpExt TW: mini-sockets created (6.1 and later) or expired (5.10), with a long time to live.
    pub tw: u64,
    /// TcpExt TWKilled: the same with a short time to live.
    pub tw_killed: u64,
    /// TcpExt TWRecycled: reused by connect().
    pub tw_recycled: u64,
    /// TcpExt TCPTimeWaitOverflow: refused.
    pub overflow: u64,
    /// Mini-sockets alive, from sockstat.
    pub alive: u64,
    /// Tcp OutRsts: RSTs sent.
    pub resets_sent: u64,
    /// Tcp EstabResets: connections that changed from ESTABLISHED or CLOSE_WAIT straight to CLOSE.
    pub connections_reset: u64,
    /// Those that are not compared.
    pub others: FailureCounters,
}

/// Failures that the kernel counts, besides what is traced individually.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
pub struct FailureCounters {
    /// Tcp AttemptFails: connects that failed, and half-open requests of listeners that a RST or a SYN ended.
    pub attempts_failed: u64,
    /// TcpExt TCPAbortOnData: close() with linger 0, and data that arrived after close().
    pub abort_on_data: u64,
    /// TcpExt TCPAbortOnClose: close() over unread data.
    pub abort_on_close: u64,
    /// TcpExt TCPAbortOnMemory: too many orphans, or no memory for them.
    pub abort_on_memory: u64,
    /// TcpExt TCPAbortOnTimeout: no answer to data, probes or SYNs.
    pub abort_on_timeout: u64,
    /// TcpExt TCPAbortOnLinger: no FIN within TCP_LINGER2, or TCP_LINGER2 is negative.
    pub abort_on_linger: u64,
}

impl FailureCounters {
    /// Each with its name in the kernel's files.
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("AttemptFails", self.attempts_failed),
            ("TCPAbortOnData", self.abort_on_data),
            ("TCPAbortOnClose", self.abort_on_close),
            ("TCPAbortOnMemory", self.abort_on_memory),
            ("TCPAbortOnTimeout", self.abort_on_timeout),
            ("TCPAbortOnLinger", self.abort_on_linger),
        ]
    }

    /// Combines both, counter by counter.
    fn with(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            attempts_failed: of(self.attempts_failed, other.attempts_failed),
            abort_on_data: of(self.abort_on_data, other.abort_on_data),
            abort_on_close: of(self.abort_on_close, other.abort_on_close),
            abort_on_memory: of(self.abort_on_memory, other.abort_on_memory),
            abort_on_timeout: of(self.abort_on_timeout, other.abort_on_timeout),
            abort_on_linger: of(self.abort_on_linger, other.abort_on_linger),
        }
    }

    /// The increase since an earlier reading of the same namespace.
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// The sum of both.
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }
}

impl Counters {
    /// Whether a counter is lower than in an earlier reading of the same namespace, which is impossible.
    pub fn is_before(&self, earlier: &Self) -> bool {
        self.tw < earlier.tw
            || self.tw_killed < earlier.tw_killed
            || self.tw_recycled < earlier.tw_recycled
            || self.overflow < earlier.overflow
            || self.resets_sent < earlier.resets_sent
            || self.connections_reset < earlier.connections_reset
    }
}
