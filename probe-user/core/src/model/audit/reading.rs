//! Readings of the audit, and what can be compared on a kernel.

use std::ops::Add;

use twtrace_wire::NetnsTotals;

use super::kernel_counters::Counters;
use crate::hooks::ResetsSeen;

/// The counts of the kernel and of the probes, read at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The kernel's own counters.
    pub kernel: Counters,
    /// The probes' counters.
    pub seen: NetnsTotals,
}

/// When this kernel counts TcpExt TW and TWKilled, which determines what is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedAt {
    /// At creation (6.1 and later): those created are the increase of TW + TWKilled.
    Birth {
        /// Whether a hook counts ends.
        ends_seen: bool,
    },
    /// At expiry (5.10): those created are the increase of the live ones plus the ends seen, if these are seen.
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

/// How much was counted between two readings, and so may be missing on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uncertainty {
    /// Mini-sockets created.
    pub births: u64,
    /// Mini-sockets refused.
    pub overflow: u64,
    /// RSTs sent.
    pub resets_sent: u64,
    /// Connections that a RST or an abort ended.
    pub connections_reset: u64,
    /// Mini-sockets that ended.
    pub ends: u64,
    /// Mini-sockets whose tuple a connect() reused.
    pub reused: u64,
}

impl Uncertainty {
    /// What was counted from one reading to a later one, by the side that counted more. The probes' figures are read
    /// before the kernel's: what only the kernel has happened after its own figures of the earlier reading.
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
        /// Activity while it was taken.
        uncertainty: Uncertainty,
    },
    /// The namespace could not be reached at the end.
    Gone {
        /// The last time that it could be reached, and how long before the end that was, nanoseconds.
        last: Option<(Reading, u64)>,
        /// What the probes had counted at the end.
        seen: NetnsTotals,
    },
    /// It could not be reached, and may exist nevertheless: /proc does not show all processes.
    Hidden {
        /// What the probes had counted at the end.
        seen: NetnsTotals,
    },
    /// Another namespace got its number during this time; the probes counted both under it.
    Replaced {
        /// What the probes had counted at the end.
        seen: NetnsTotals,
    },
    /// The kernel does not show which of the namespaces with its number it is.
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
