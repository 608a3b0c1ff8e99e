//! The audit: what was traced against what the kernel counted itself, by network namespace.

use std::ops::Add;

use serde::{Deserialize, Serialize};
use twtrace_wire::NetnsTotals;

use crate::enrich::counters::Counters;
use crate::enrich::pid_namespace::HIDDEN;
use crate::probe::ResetsSeen;

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
        }
    }
}

/// What the figures of the kernel rest on.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// TcpExt TW and TWKilled.
    #[default]
    TcpExt,
    /// sockstat's tw and the ends that were seen.
    Sockstat,
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

/// One namespace's audit.
#[derive(schemars::JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many namespaces had this number before it, since tracing began: a number is used again at once.
    #[serde(default, skip_serializing_if = "crate::event::is_first")]
    pub netns_nth: u32,
    /// Mini-sockets seen being made.
    pub births_seen: u64,
    /// Mini-sockets the kernel counted.
    pub births_kernel: Option<u64>,
    /// `births_seen` − `births_kernel`: negative where some were missed.
    pub difference: Option<i64>,
    /// Refusals seen.
    pub overflow_seen: u64,
    /// Refusals the kernel counted.
    pub overflow_kernel: Option<u64>,
    /// `overflow_seen` − `overflow_kernel`, whether they were seen or inferred: positive where some were none.
    #[serde(default)]
    pub overflow_difference: Option<i64>,
    /// Refusals that went on while the counters were read, by which that may be off.
    #[serde(default)]
    pub overflow_uncertainty: u64,
    /// Those of `births_seen` and `overflow_seen` that were inferred from the socket's states.
    pub inferred: u64,
    /// Mini-sockets seen going; `None` where no hook sees that.
    pub ends_seen: Option<u64>,
    /// Growth of the living ones by the kernel's count (sockstat's tw).
    pub alive_growth: Option<i64>,
    /// (`births_seen` − `ends_seen`) − `alive_growth`: not 0 where an end or a birth was missed.
    pub alive_difference: Option<i64>,
    /// Those of `ends_seen` whose tuple a connect() took.
    pub reused_seen: Option<u64>,
    /// The same by the kernel's count (TcpExt TWRecycled).
    pub reused_kernel: Option<u64>,
    /// RSTs sent that were seen; `None` where no hook sees them.
    #[serde(default)]
    pub resets_sent_seen: Option<u64>,
    /// RSTs that the kernel counted as sent (Tcp OutRsts).
    #[serde(default)]
    pub resets_sent_kernel: Option<u64>,
    /// `resets_sent_seen` − `resets_sent_kernel`; `None` where the hooks can't see all of them.
    #[serde(default)]
    pub resets_sent_difference: Option<i64>,
    /// RSTs that were sent while the counters were read, by which that may be off.
    #[serde(default)]
    pub resets_sent_uncertainty: u64,
    /// Why RSTs can't be compared, where other figures can.
    #[serde(default)]
    pub resets_sent_why: Option<String>,
    /// Births that went on while the counters were read, by which the difference may be off.
    pub uncertainty: u64,
    /// What `births_kernel` rests on.
    pub basis: Basis,
    /// Whether the figures cover the whole time.
    pub audited: bool,
    /// Why not, or what the figures leave open.
    pub why: Option<String>,
}

impl CountedAt {
    fn ends_seen(self) -> bool {
        match self {
            Self::Birth { ends_seen } | Self::Expiry { ends_seen } => ends_seen,
        }
    }
}

impl AuditRow {
    /// What came since an earlier reading of the same namespace. As it is where its counters went back meanwhile:
    /// then it is another namespace with the same number.
    pub fn since(&self, before: &Self) -> Self {
        let is_later = before.births_seen <= self.births_seen
            && before.overflow_seen <= self.overflow_seen
            && before.resets_sent_seen <= self.resets_sent_seen
            && before.births_kernel <= self.births_kernel;
        if !is_later {
            return self.clone();
        }
        // An end that was counted too early is taken back.
        let less = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        let difference = |now: Option<i64>, before: Option<i64>| now?.checked_sub(before?);
        Self {
            netns: self.netns,
            netns_nth: self.netns_nth,
            births_seen: self.births_seen - before.births_seen,
            births_kernel: less(self.births_kernel, before.births_kernel),
            difference: difference(self.difference, before.difference),
            overflow_seen: self.overflow_seen - before.overflow_seen,
            overflow_kernel: less(self.overflow_kernel, before.overflow_kernel),
            overflow_difference: difference(self.overflow_difference, before.overflow_difference),
            overflow_uncertainty: self
                .overflow_uncertainty
                .saturating_add(before.overflow_uncertainty),
            inferred: self.inferred.saturating_sub(before.inferred),
            ends_seen: less(self.ends_seen, before.ends_seen),
            alive_growth: difference(self.alive_growth, before.alive_growth),
            alive_difference: difference(self.alive_difference, before.alive_difference),
            reused_seen: less(self.reused_seen, before.reused_seen),
            reused_kernel: less(self.reused_kernel, before.reused_kernel),
            resets_sent_seen: less(self.resets_sent_seen, before.resets_sent_seen),
            resets_sent_kernel: less(self.resets_sent_kernel, before.resets_sent_kernel),
            resets_sent_difference: difference(
                self.resets_sent_difference,
                before.resets_sent_difference,
            ),
            resets_sent_uncertainty: self
                .resets_sent_uncertainty
                .saturating_add(before.resets_sent_uncertainty),
            resets_sent_why: self.resets_sent_why.clone(),
            uncertainty: self.uncertainty.saturating_add(before.uncertainty),
            basis: self.basis,
            audited: self.audited && before.audited,
            why: self.why.clone().or_else(|| before.why.clone()),
        }
    }

    /// Adds what came later.
    pub fn add(&mut self, later: &Self) {
        let sum = |one: Option<u64>, other: Option<u64>| one?.checked_add(other?);
        let signed = |one: Option<i64>, other: Option<i64>| one?.checked_add(other?);
        self.births_seen += later.births_seen;
        self.births_kernel = sum(self.births_kernel, later.births_kernel);
        self.difference = signed(self.difference, later.difference);
        self.overflow_seen += later.overflow_seen;
        self.overflow_kernel = sum(self.overflow_kernel, later.overflow_kernel);
        self.overflow_difference = signed(self.overflow_difference, later.overflow_difference);
        self.inferred += later.inferred;
        self.ends_seen = sum(self.ends_seen, later.ends_seen);
        self.alive_growth = signed(self.alive_growth, later.alive_growth);
        self.alive_difference = signed(self.alive_difference, later.alive_difference);
        self.reused_seen = sum(self.reused_seen, later.reused_seen);
        self.reused_kernel = sum(self.reused_kernel, later.reused_kernel);
        self.resets_sent_seen = sum(self.resets_sent_seen, later.resets_sent_seen);
        self.resets_sent_kernel = sum(self.resets_sent_kernel, later.resets_sent_kernel);
        self.resets_sent_difference =
            signed(self.resets_sent_difference, later.resets_sent_difference);
        if later.resets_sent_why.is_some() {
            self.resets_sent_why.clone_from(&later.resets_sent_why);
        }
        // What one reading was off by, the next one makes up for.
        self.uncertainty = self.uncertainty.max(later.uncertainty);
        self.overflow_uncertainty = self.overflow_uncertainty.max(later.overflow_uncertainty);
        self.resets_sent_uncertainty = self
            .resets_sent_uncertainty
            .max(later.resets_sent_uncertainty);
        self.basis = later.basis;
        self.audited &= later.audited;
        if later.why.is_some() {
            self.why.clone_from(&later.why);
        }
    }

    /// Whether it is about the same namespace.
    pub fn is_of_same(&self, other: &Self) -> bool {
        (self.netns, self.netns_nth) == (other.netns, other.netns_nth)
    }

    /// Whether anything happened in the namespace.
    pub fn is_quiet(&self) -> bool {
        self.births_seen == 0
            && self.overflow_seen == 0
            && self.ends_seen.unwrap_or(0) == 0
            && self.births_kernel.unwrap_or(0) == 0
            && self.overflow_kernel.unwrap_or(0) == 0
            && self.resets_sent_seen.unwrap_or(0) == 0
            && self.resets_sent_kernel.unwrap_or(0) == 0
    }

    /// By how much what was seen differs from what the kernel counted, beyond the uncertainty of reading: TIME_WAITs made,
    /// TIME_WAITs refused, RSTs sent; 0 where it does not, or can't be compared.
    pub fn off_by(&self) -> [i64; 3] {
        [
            (self.difference, self.uncertainty),
            (self.overflow_difference, self.overflow_uncertainty),
            (self.resets_sent_difference, self.resets_sent_uncertainty),
        ]
        .map(|(difference, uncertainty)| {
            difference
                .filter(|difference| difference.unsigned_abs() > uncertainty)
                .unwrap_or(0)
        })
    }

    /// Whether a figure differs from the kernel's by more than the uncertainty of reading.
    pub fn is_off(&self) -> bool {
        self.off_by() != [0; 3]
    }
}

const UNPROVEN: &str = "the kernel does not say which of the namespaces that had its number it is";
const NO_RESETS: &str = "no hook sees RSTs";
const NO_RESETS_WITHOUT_SOCKET: &str =
    "RSTs without a socket, or for a TIME_WAIT socket, are not seen on this kernel";
const REPLACED: &str = "its counters went back: another namespace was given its number";

/// In how many network namespaces a figure is off.
pub fn count_off(rows: &[AuditRow]) -> u64 {
    rows.iter().filter(|row| row.is_off()).count() as u64
}

/// What is to be read before any figure: that some differ from what the kernel counted. `None` where none does.
pub fn warning(rows: &[AuditRow]) -> Option<String> {
    let off: Vec<&AuditRow> = rows.iter().filter(|row| row.is_off()).collect();
    if off.is_empty() {
        return None;
    }
    let figures: Vec<String> = ["TIME_WAITs", "refused TIME_WAITs", "RSTs sent"]
        .into_iter()
        .enumerate()
        .filter_map(|(index, what)| {
            let differences = off.iter().map(|row| row.off_by()[index]);
            let more: i64 = differences.clone().filter(|it| *it > 0).sum();
            let less: i64 = differences.filter(|it| *it < 0).sum();
            let amounts: Vec<String> = [more, less]
                .iter()
                .filter(|amount| **amount != 0)
                .map(|amount| format!("{amount:+}"))
                .collect();
            (!amounts.is_empty()).then(|| format!("{what} {}", amounts.join(" and ")))
        })
        .collect();
    Some(format!(
        "AUDIT OFF: in {} network namespace{} figures differ from what the kernel counted: {}",
        off.len(),
        if off.len() == 1 { "" } else { "s" },
        figures.join(", ")
    ))
}

/// Compares a namespace's first and last reading. `baseline` is `None` where it was there before tracing
/// began and could not be read then.
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
        reused_seen: counted
            .ends_seen()
            .then(|| seen.reused.saturating_sub(base_seen.reused)),
        reused_kernel: None,
        resets_sent_seen: (sight.resets != ResetsSeen::None)
            .then(|| seen.resets_sent.saturating_sub(base_seen.resets_sent)),
        resets_sent_kernel: None,
        resets_sent_difference: None,
        resets_sent_uncertainty: uncertainty.resets_sent,
        resets_sent_why: None,
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
        self.reused_kernel = Some(end.tw_recycled - base.tw_recycled);
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
                        "traffic went on while the counters were read: off by up to {}",
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
                "no process is left in it; {age_s:.1} s before the end {seen} births had been seen, and the kernel had counted {births}"
            )
        }
        Growth::WentBack | Growth::EndsNotSeen { .. } => {
            format!("no process is left in it; last read {age_s:.1} s before the end")
        }
    }
}

/// How far the kernel's counters grew.
enum Growth {
    /// By this much.
    Known { births: u64, overflow: u64 },
    /// Births can't be told.
    EndsNotSeen { overflow: u64 },
    /// They shrank.
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

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
