//! Computes figures and their differences from readings.

use super::kernel_counters::Counters;
use super::reading::{CountedAt, Last, Reading, Sight, Uncertainty};
use super::row::{AuditRow, Basis};
use crate::hooks::ResetsSeen;

/// Why a network namespace is not seen although it may have processes.
pub const HIDDEN: &str = "no process in it is in twtrace's pid namespace, so it can't be read";
const UNPROVEN: &str = "the kernel does not say which of the namespaces that had its number it is";
const NO_RESETS: &str = "no hook sees RSTs";
const NO_RESETS_WITHOUT_SOCKET: &str =
    "RSTs without a socket, or for a TIME_WAIT socket, are not seen on this kernel";
const REPLACED: &str = "its counters decreased: another namespace was given its number";

/// Compares a namespace's first and last reading. `baseline` is `None` if it existed before tracing began and could not
/// be read then.
pub fn audit(netns: u32, baseline: Option<Reading>, last: Last, sight: Sight) -> AuditRow {
    let counted = sight.counted;
    let (seen, uncertainty) = match last {
        Last::AtEnd {
            reading,
            uncertainty,
        } => (reading.seen, uncertainty),
        Last::Gone { seen, .. }
        | Last::Hidden { seen }
        | Last::Replaced { seen }
        | Last::Unproven { seen } => (seen, Uncertainty::default()),
    };
    let base_seen = baseline.unwrap_or_default().seen;
    let mut row = AuditRow {
        netns,
        netns_nth: 0,
        births_seen: seen.births.saturating_sub(base_seen.births),
        births_kernel: None,
        difference: None,
        overflow_seen: seen.overflow.saturating_sub(base_seen.overflow),
        overflow_kernel: None,
        overflow_difference: None,
        overflow_uncertainty: uncertainty.overflow,
        inferred: seen.inferred.saturating_sub(base_seen.inferred),
        ends_seen: counted
            .ends_seen()
            .then(|| seen.ends.saturating_sub(base_seen.ends)),
        alive_growth: None,
        alive_difference: None,
        ends_kernel: None,
        ends_difference: None,
        ends_uncertainty: uncertainty.births + uncertainty.ends,
        reused_seen: counted
            .ends_seen()
            .then(|| seen.reused.saturating_sub(base_seen.reused)),
        reused_kernel: None,
        reused_difference: None,
        reused_uncertainty: uncertainty.reused,
        resets_sent_seen: (sight.resets != ResetsSeen::None)
            .then(|| seen.resets_sent.saturating_sub(base_seen.resets_sent)),
        resets_sent_kernel: None,
        resets_sent_difference: None,
        resets_sent_uncertainty: uncertainty.resets_sent,
        resets_sent_why: None,
        connections_reset_seen: seen
            .connections_reset
            .saturating_sub(base_seen.connections_reset),
        connections_reset_kernel: None,
        connections_reset_difference: None,
        connections_reset_uncertainty: uncertainty.connections_reset,
        kernel_counted: None,
        uncertainty: uncertainty.births,
        basis: match counted {
            CountedAt::Birth { .. } => Basis::TcpExt,
            CountedAt::Expiry { .. } => Basis::Sockstat,
        },
        audited: false,
        why: None,
    };
    match (baseline, last) {
        (_, Last::Replaced { .. }) => row.why = Some(REPLACED.to_owned()),
        (_, Last::Unproven { .. }) => row.why = Some(UNPROVEN.to_owned()),
        (_, Last::Hidden { .. }) => row.why = Some(HIDDEN.to_owned()),
        (None, _) => {
            row.why = Some("its counters could not be read when tracing began".to_owned());
        }
        (Some(_), Last::Gone { last: None, .. }) => {
            row.why = Some("it vanished before its counters could be read".to_owned());
        }
        (
            Some(base),
            Last::Gone {
                last: Some((reading, age_ns)),
                ..
            },
        ) => row.why = Some(vanished(&base, &reading, age_ns, counted)),
        (Some(base), Last::AtEnd { reading, .. }) => {
            row.compare(Growth::between(&base, &reading, counted));
            row.compare_living(&base.kernel, &reading.kernel);
            row.compare_resets(&base.kernel, &reading.kernel, sight.resets);
            row.compare_connections(&base.kernel, &reading.kernel);
        }
    }
    row
}

impl AuditRow {
    fn compare_living(&mut self, base: &Counters, end: &Counters) {
        if end.is_before(base) {
            return;
        }
        let growth = end.alive.cast_signed() - base.alive.cast_signed();
        self.alive_growth = Some(growth);
        self.alive_difference = self
            .ends_seen
            .map(|ends| self.births_seen.cast_signed() - ends.cast_signed() - growth);
        if self.basis == Basis::TcpExt {
            self.ends_kernel = self
                .births_kernel
                .and_then(|births| births.checked_add_signed(-growth));
            self.ends_difference = self
                .ends_seen
                .zip(self.ends_kernel)
                .map(|(seen, kernel)| seen.cast_signed() - kernel.cast_signed());
        }
        let reused = end.tw_recycled - base.tw_recycled;
        self.reused_kernel = Some(reused);
        self.reused_difference = self
            .reused_seen
            .map(|seen| seen.cast_signed() - reused.cast_signed());
    }

    fn compare_connections(&mut self, base: &Counters, end: &Counters) {
        if end.is_before(base) {
            return;
        }
        let kernel = end.connections_reset - base.connections_reset;
        self.connections_reset_kernel = Some(kernel);
        self.connections_reset_difference =
            Some(self.connections_reset_seen.cast_signed() - kernel.cast_signed());
        self.kernel_counted = Some(end.others.since(&base.others));
    }

    fn compare_resets(&mut self, base: &Counters, end: &Counters, seen: ResetsSeen) {
        if end.is_before(base) {
            return;
        }
        let kernel = end.resets_sent - base.resets_sent;
        self.resets_sent_kernel = Some(kernel);
        self.resets_sent_why = match seen {
            ResetsSeen::All => None,
            ResetsSeen::OfFullSockets => Some(NO_RESETS_WITHOUT_SOCKET.to_owned()),
            ResetsSeen::None => Some(NO_RESETS.to_owned()),
        };
        if seen == ResetsSeen::All {
            self.resets_sent_difference = self
                .resets_sent_seen
                .map(|seen| seen.cast_signed() - kernel.cast_signed());
        }
    }

    fn compare_overflow(&mut self, overflow: u64) {
        self.overflow_kernel = Some(overflow);
        self.overflow_difference = Some(self.overflow_seen.cast_signed() - overflow.cast_signed());
    }

    fn compare(&mut self, growth: Growth) {
        match growth {
            Growth::WentBack => {
                self.why = Some(REPLACED.to_owned());
            }
            Growth::EndsNotSeen { overflow } => {
                self.compare_overflow(overflow);
                self.why = Some(
                    "this kernel counts a TIME_WAIT when it expires, and no hook counts ends"
                        .to_owned(),
                );
            }
            Growth::Known { births, overflow } => {
                self.births_kernel = Some(births);
                self.compare_overflow(overflow);
                self.difference = Some(self.births_seen.cast_signed() - births.cast_signed());
                self.audited = true;
                if self.uncertainty > 0 {
                    self.why = Some(format!(
                        "traffic continued while the counters were read: they may differ by up to {}",
                        self.uncertainty
                    ));
                }
            }
        }
    }
}

fn vanished(base: &Reading, last: &Reading, age_ns: u64, counted: CountedAt) -> String {
    let age_s = age_ns as f64 / 1e9;
    match Growth::between(base, last, counted) {
        Growth::Known { births, .. } => {
            let seen = last.seen.births.saturating_sub(base.seen.births);
            format!(
                "no process is left in it; {age_s:.1} s before the end {seen} TIME_WAITs had been seen, and the kernel had counted {births}"
            )
        }
        Growth::WentBack | Growth::EndsNotSeen { .. } => {
            format!("no process is left in it; last read {age_s:.1} s before the end")
        }
    }
}

/// Increase of the kernel's counters.
enum Growth {
    /// The increase.
    Known { births: u64, overflow: u64 },
    /// TIME_WAITs created can't be computed.
    EndsNotSeen { overflow: u64 },
    /// They decreased.
    WentBack,
}

impl Growth {
    fn between(base: &Reading, end: &Reading, counted: CountedAt) -> Self {
        let counters = |reading: &Reading| reading.kernel.tw + reading.kernel.tw_killed;
        let Some(overflow) = end.kernel.overflow.checked_sub(base.kernel.overflow) else {
            return Self::WentBack;
        };
        match counted {
            CountedAt::Birth { .. } => match counters(end).checked_sub(counters(base)) {
                Some(births) => Self::Known { births, overflow },
                None => Self::WentBack,
            },
            CountedAt::Expiry { ends_seen: false } => Self::EndsNotSeen { overflow },
            CountedAt::Expiry { ends_seen: true } => {
                let ends = end.seen.ends.saturating_sub(base.seen.ends);
                match (end.kernel.alive + ends).checked_sub(base.kernel.alive) {
                    Some(births) => Self::Known { births, overflow },
                    None => Self::WentBack,
                }
            }
        }
    }
}
