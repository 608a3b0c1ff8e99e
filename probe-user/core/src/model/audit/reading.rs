//! What the audit compares, and what of it can be compared on a kernel.

use std::ops::Add;

use twtrace_wire::NetnsTotals;

use super::counters::Counters;
use crate::hooks::ResetsSeen;

/// What the kernel counted and what the probes counted, read at the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The kernel's own counters.
    pub kernel: Counters,
    /// The probes'.
    pub seen: NetnsTotals,
}

/// When this kernel counts TcpExt TW and TWKilled, and so what is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedAt {
    /// At birth (6.1 and later): births are the growth of TW + TWKilled.
    Birth {
        /// Whether a hook counts ends.
        ends_seen: bool,
    },
    /// At expiry (5.10): births are the growth of the living ones and the ends seen, if these are seen.
    Expiry {
        /// Whether a hook counts ends.
        ends_seen: bool,
    },
}

/// What can be compared on this kernel, with these hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Mini-sockets.
    pub counted: CountedAt,
    /// RSTs.
    pub resets: ResetsSeen,
}

/// How much was counted between two readings, and so may be on one side only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uncertainty {
    /// Mini-sockets made.
    pub births: u64,
    /// Mini-sockets refused.
    pub overflow: u64,
    /// RSTs sent.
    pub resets_sent: u64,
    /// Connections that a RST or an abort ended.
    pub connections_reset: u64,
    /// Mini-sockets that went.
    pub ends: u64,
    /// Mini-sockets whose tuple a connect() took.
    pub reused: u64,
}

impl Uncertainty {
    /// What was counted from one reading to a later one, by whichever side counted more. The probes' figures are read
    /// before the kernel's: what the kernel alone has came after its own figures of the reading before.
    pub fn between(before: &Reading, now: &Reading, counted: CountedAt) -> Self {
        let grown = |of: fn(&NetnsTotals) -> u64| of(&now.seen).saturating_sub(of(&before.seen));
        let kernel = |of: fn(&Counters) -> u64| of(&now.kernel).saturating_sub(of(&before.kernel));
        let births = match counted {
            CountedAt::Birth { .. } => kernel(|it| it.tw + it.tw_killed),
            CountedAt::Expiry { .. } => {
                grown(|it| it.ends).max(now.kernel.alive.abs_diff(before.kernel.alive))
            }
        };
        Self {
            births: grown(|it| it.births).max(births),
            overflow: grown(|it| it.overflow).max(kernel(|it| it.overflow)),
            resets_sent: grown(|it| it.resets_sent).max(kernel(|it| it.resets_sent)),
            connections_reset: grown(|it| it.connections_reset)
                .max(kernel(|it| it.connections_reset)),
            ends: grown(|it| it.ends),
            reused: grown(|it| it.reused).max(kernel(|it| it.tw_recycled)),
        }
    }
}

impl Add for Uncertainty {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            births: self.births + other.births,
            overflow: self.overflow + other.overflow,
            resets_sent: self.resets_sent + other.resets_sent,
            connections_reset: self.connections_reset + other.connections_reset,
            ends: self.ends + other.ends,
            reused: self.reused + other.reused,
        }
    }
}

/// The end of a namespace's audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Read at the end.
    AtEnd {
        /// The reading.
        reading: Reading,
        /// What went on while it was taken.
        uncertainty: Uncertainty,
    },
    /// The namespace could not be reached at the end.
    Gone {
        /// The last time it could be, and how long before the end that was, nanoseconds.
        last: Option<(Reading, u64)>,
        /// What the probes had counted at the end.
        seen: NetnsTotals,
    },
    /// It could not be reached, and may be there all the same: /proc does not show all processes.
    Hidden {
        /// What the probes had counted at the end.
        seen: NetnsTotals,
    },
    /// Another namespace was given its number meanwhile; the probes counted both under it.
    Replaced {
        /// What the probes had counted at the end.
        seen: NetnsTotals,
    },
    /// The kernel does not say which of the namespaces with its number it is.
    Unproven {
        /// What the probes had counted at the end.
        seen: NetnsTotals,
    },
}

impl CountedAt {
    /// Whether a hook counts ends.
    pub fn ends_seen(self) -> bool {
        match self {
            Self::Birth { ends_seen } | Self::Expiry { ends_seen } => ends_seen,
        }
    }
}
