//! The audit: what was traced against what the kernel counted itself, by network namespace.

use serde::{Deserialize, Serialize};
use twtrace_wire::NetnsTotals;

use crate::enrich::counters::Counters;

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

/// What the figures of the kernel rest on.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// TcpExt TW and TWKilled.
    TcpExt,
    /// sockstat's tw and the ends that were seen.
    Sockstat,
}

/// The end of a namespace's audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Read at the end. Births made between the last two readings, which may be on one side only.
    AtEnd {
        /// The reading.
        reading: Reading,
        /// Births that went on while it was taken.
        uncertainty: u64,
    },
    /// The namespace could not be reached at the end.
    Gone {
        /// The last time it could be, and how long before the end that was, nanoseconds.
        last: Option<(Reading, u64)>,
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
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Those of `births_seen` that were inferred from the socket's states.
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
            inferred: self.inferred.saturating_sub(before.inferred),
            ends_seen: less(self.ends_seen, before.ends_seen),
            alive_growth: difference(self.alive_growth, before.alive_growth),
            alive_difference: difference(self.alive_difference, before.alive_difference),
            reused_seen: less(self.reused_seen, before.reused_seen),
            reused_kernel: less(self.reused_kernel, before.reused_kernel),
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
        self.inferred += later.inferred;
        self.ends_seen = sum(self.ends_seen, later.ends_seen);
        self.alive_growth = signed(self.alive_growth, later.alive_growth);
        self.alive_difference = signed(self.alive_difference, later.alive_difference);
        self.reused_seen = sum(self.reused_seen, later.reused_seen);
        self.reused_kernel = sum(self.reused_kernel, later.reused_kernel);
        // What one reading was off by, the next one makes up for.
        self.uncertainty = self.uncertainty.max(later.uncertainty);
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
    }
}

const UNPROVEN: &str = "the kernel does not say which of the namespaces that had its number it is";
const REPLACED: &str = "its counters went back: another namespace was given its number";

/// Compares a namespace's first and last reading. `baseline` is `None` where it was there before tracing
/// began and could not be read then.
pub fn audit(netns: u32, baseline: Option<Reading>, last: Last, counted: CountedAt) -> AuditRow {
    let (seen, uncertainty) = match last {
        Last::AtEnd {
            reading,
            uncertainty,
        } => (reading.seen, uncertainty),
        Last::Gone { seen, .. } | Last::Replaced { seen } | Last::Unproven { seen } => (seen, 0),
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
        uncertainty,
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

    fn compare(&mut self, growth: Growth) {
        match growth {
            Growth::WentBack => {
                self.why = Some(REPLACED.to_owned());
            }
            Growth::EndsNotSeen { overflow } => {
                self.overflow_kernel = Some(overflow);
                self.why = Some(
                    "this kernel counts a TIME_WAIT when it expires, and no hook counts ends"
                        .to_owned(),
                );
            }
            Growth::Known { births, overflow } => {
                self.births_kernel = Some(births);
                self.overflow_kernel = Some(overflow);
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
mod tests {
    use super::*;

    const BIRTH: CountedAt = CountedAt::Birth { ends_seen: true };

    fn reading(tw: u64, tw_killed: u64, overflow: u64, alive: u64, seen: [u64; 3]) -> Reading {
        Reading {
            kernel: Counters {
                tw,
                tw_killed,
                tw_recycled: 0,
                overflow,
                alive,
            },
            seen: NetnsTotals {
                births: seen[0],
                overflow: seen[1],
                ends: seen[2],
                inferred: 0,
                reused: 0,
            },
        }
    }

    fn at_end(reading: Reading) -> Last {
        Last::AtEnd {
            reading,
            uncertainty: 0,
        }
    }

    #[test]
    fn births_are_compared_with_the_growth_since_the_baseline() {
        let base = reading(100, 10, 5, 30, [7, 1, 0]);
        let end = reading(150, 14, 8, 80, [61, 4, 0]);
        let row = audit(1, Some(base), at_end(end), BIRTH);
        assert_eq!((row.births_seen, row.births_kernel), (54, Some(54)));
        assert_eq!((row.overflow_seen, row.overflow_kernel), (3, Some(3)));
        assert_eq!((row.difference, row.audited), (Some(0), true));
        assert_eq!(row.why, None);
        assert_eq!(
            (row.alive_growth, row.alive_difference),
            (Some(50), Some(4))
        );
        let missed = reading(150, 14, 8, 80, [59, 4, 0]);
        assert_eq!(
            audit(1, Some(base), at_end(missed), BIRTH).difference,
            Some(-2)
        );
    }

    #[test]
    fn where_expiry_is_counted_ends_and_the_living_tell_births() {
        let base = reading(0, 0, 0, 30, [0, 0, 0]);
        let end = reading(0, 0, 0, 20, [40, 0, 50]);
        let row = audit(
            1,
            Some(base),
            at_end(end),
            CountedAt::Expiry { ends_seen: true },
        );
        assert_eq!((row.births_kernel, row.difference), (Some(40), Some(0)));
        assert_eq!(row.basis, Basis::Sockstat);
        let row = audit(
            1,
            Some(base),
            at_end(end),
            CountedAt::Expiry { ends_seen: false },
        );
        assert_eq!((row.births_kernel, row.audited), (None, false));
        assert!(row.why.unwrap().contains("when it expires"));
    }

    #[test]
    fn a_vanished_namespace_is_named_with_its_last_figures() {
        let last = reading(40, 0, 0, 40, [40, 0, 0]);
        let row = audit(
            1,
            Some(Reading::default()),
            Last::Gone {
                last: Some((last, 1_500_000_000)),
                seen: NetnsTotals {
                    births: 45,
                    ..NetnsTotals::default()
                },
            },
            BIRTH,
        );
        assert!(!row.audited);
        assert_eq!(
            (row.births_seen, row.births_kernel, row.difference),
            (45, None, None)
        );
        assert_eq!(
            row.why.as_deref(),
            Some(
                "no process is left in it; 1.5 s before the end 40 births had been seen, and the kernel had counted 40"
            )
        );
        let row = audit(
            1,
            Some(Reading::default()),
            Last::Gone {
                last: None,
                seen: NetnsTotals {
                    births: 45,
                    ..NetnsTotals::default()
                },
            },
            BIRTH,
        );
        assert_eq!((row.births_seen, row.births_kernel), (45, None));
        assert!(!row.audited && row.why.is_some());
    }

    #[test]
    fn parts_of_the_time_add_up() {
        let base = reading(100, 10, 5, 30, [0, 0, 0]);
        let middle = reading(150, 14, 8, 80, [54, 3, 4]);
        let end = reading(151, 14, 8, 82, [57, 3, 3]);
        let of = |at| audit(1, Some(base), at_end(at), BIRTH);
        let (first, whole) = (of(middle), of(end));
        let second = whole.since(&first);
        assert_eq!((second.births_seen, second.births_kernel), (3, Some(1)));
        assert_eq!((second.difference, second.ends_seen), (Some(2), Some(0)));
        assert!(second.audited);
        let mut sum = first.clone();
        sum.add(&second);
        assert_eq!(sum.difference, whole.difference);
        assert_eq!(sum.alive_difference, whole.alive_difference);
        assert_eq!(sum.births_kernel, whole.births_kernel);
        // Another namespace with the same number.
        let other = audit(1, None, at_end(base), BIRTH);
        assert_eq!(other.since(&whole), other);
    }

    #[test]
    fn what_can_not_be_compared_is_said() {
        let base = reading(100, 10, 5, 30, [0, 0, 0]);
        let row = audit(1, Some(base), at_end(Reading::default()), BIRTH);
        assert!(!row.audited && row.why.unwrap().contains("went back"));
        let replaced = Last::Replaced { seen: base.seen };
        let row = audit(1, Some(base), replaced, BIRTH);
        assert!(!row.audited && row.why.unwrap().contains("went back"));
        let row = audit(1, None, at_end(base), BIRTH);
        assert!(!row.audited && row.why.unwrap().contains("when tracing began"));
        let row = audit(
            1,
            Some(base),
            Last::AtEnd {
                reading: base,
                uncertainty: 9,
            },
            BIRTH,
        );
        assert!(row.audited && row.why.unwrap().contains("up to 9"));
        assert_eq!(row.uncertainty, 9);
    }
}
