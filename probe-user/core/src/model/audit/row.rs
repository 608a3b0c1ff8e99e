//! The audit of one namespace: figures, differences, and whether they are within the uncertainty of reading.

use serde::{Deserialize, Serialize};

use super::kernel_counters::FailureCounters;

/// What the figures of the kernel are based on.
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

/// One namespace's audit.
#[derive(schemars::JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// How many earlier namespaces had this number since tracing began: the kernel reuses a number at once.
    #[serde(default, skip_serializing_if = "crate::event::is_first")]
    pub netns_nth: u32,
    /// Mini-sockets whose creation was seen.
    pub births_seen: u64,
    /// Mini-sockets that the kernel counted.
    pub births_kernel: Option<u64>,
    /// `births_seen` − `births_kernel`: negative if some were missed.
    pub difference: Option<i64>,
    /// Refusals seen.
    pub overflow_seen: u64,
    /// Refusals that the kernel counted.
    pub overflow_kernel: Option<u64>,
    /// `overflow_seen` − `overflow_kernel`, whether they were seen or inferred: positive if some were counted wrongly.
    #[serde(default)]
    pub overflow_difference: Option<i64>,
    /// Refusals that happened while the counters were read: the possible error of that difference.
    #[serde(default)]
    pub overflow_uncertainty: u64,
    /// Those of `births_seen` and `overflow_seen` that were inferred from the socket's states.
    pub inferred: u64,
    /// Mini-sockets whose end was seen; `None` if no hook sees that.
    pub ends_seen: Option<u64>,
    /// Increase of the live ones by the kernel's count (sockstat's tw).
    pub alive_growth: Option<i64>,
    /// (`births_seen` − `ends_seen`) − `alive_growth`: not 0 if the end or the creation of one was missed.
    pub alive_difference: Option<i64>,
    /// Mini-sockets that ended by the kernel's count: `births_kernel` − `alive_growth`. `None` if `births_kernel`
    /// itself is based on the ends that were seen.
    #[serde(default)]
    pub ends_kernel: Option<u64>,
    /// `ends_seen` − `ends_kernel`.
    #[serde(default)]
    pub ends_difference: Option<i64>,
    /// TIME_WAITs created and ended while the counters were read: the possible error of that difference.
    #[serde(default)]
    pub ends_uncertainty: u64,
    /// Those of `ends_seen` whose tuple a connect() reused.
    pub reused_seen: Option<u64>,
    /// The same by the kernel's count (TcpExt TWRecycled).
    pub reused_kernel: Option<u64>,
    /// `reused_seen` − `reused_kernel`.
    #[serde(default)]
    pub reused_difference: Option<i64>,
    /// Such ends that happened while the counters were read: the possible error of that difference.
    #[serde(default)]
    pub reused_uncertainty: u64,
    /// Sent RSTs that were seen; `None` if no hook sees them.
    #[serde(default)]
    pub resets_sent_seen: Option<u64>,
    /// RSTs that the kernel counted as sent (Tcp OutRsts).
    #[serde(default)]
    pub resets_sent_kernel: Option<u64>,
    /// `resets_sent_seen` − `resets_sent_kernel`; `None` if the hooks can't see all of them.
    #[serde(default)]
    pub resets_sent_difference: Option<i64>,
    /// RSTs that were sent while the counters were read: the possible error of that difference.
    #[serde(default)]
    pub resets_sent_uncertainty: u64,
    /// Why RSTs can't be compared, if other figures can.
    #[serde(default)]
    pub resets_sent_why: Option<String>,
    /// Connections seen to change from ESTABLISHED or CLOSE_WAIT straight to CLOSE: reset, aborted or timed out.
    #[serde(default)]
    pub connections_reset_seen: u64,
    /// The same by the kernel's count (Tcp EstabResets).
    #[serde(default)]
    pub connections_reset_kernel: Option<u64>,
    /// `connections_reset_seen` − `connections_reset_kernel`.
    #[serde(default)]
    pub connections_reset_difference: Option<i64>,
    /// Such ends that happened while the counters were read: the possible error of that difference.
    #[serde(default)]
    pub connections_reset_uncertainty: u64,
    /// Other failures that the kernel counted; they are not compared.
    #[serde(default)]
    pub kernel_counted: Option<FailureCounters>,
    /// TIME_WAITs created while the counters were read: the possible error of the difference.
    pub uncertainty: u64,
    /// What `births_kernel` is based on.
    pub basis: Basis,
    /// Whether the figures cover the whole time.
    pub audited: bool,
    /// Why not, or what the figures leave open.
    pub why: Option<String>,
}

impl AuditRow {
    /// The increase since an earlier reading of the same namespace. Unchanged if its counters decreased in between:
    /// then it is another namespace with the same number.
    pub fn since(&self, before: &Self) -> Self {
        let is_later = before.births_seen <= self.births_seen
            && before.overflow_seen <= self.overflow_seen
            && before.resets_sent_seen <= self.resets_sent_seen
            && before.connections_reset_seen <= self.connections_reset_seen
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
            ends_kernel: less(self.ends_kernel, before.ends_kernel),
            ends_difference: difference(self.ends_difference, before.ends_difference),
            ends_uncertainty: self
                .ends_uncertainty
                .saturating_add(before.ends_uncertainty),
            reused_seen: less(self.reused_seen, before.reused_seen),
            reused_kernel: less(self.reused_kernel, before.reused_kernel),
            reused_difference: difference(self.reused_difference, before.reused_difference),
            reused_uncertainty: self
                .reused_uncertainty
                .saturating_add(before.reused_uncertainty),
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
            connections_reset_seen: self.connections_reset_seen - before.connections_reset_seen,
            connections_reset_kernel: less(
                self.connections_reset_kernel,
                before.connections_reset_kernel,
            ),
            connections_reset_difference: difference(
                self.connections_reset_difference,
                before.connections_reset_difference,
            ),
            connections_reset_uncertainty: self
                .connections_reset_uncertainty
                .saturating_add(before.connections_reset_uncertainty),
            kernel_counted: self
                .kernel_counted
                .zip(before.kernel_counted)
                .map(|(now, before)| now.since(&before)),
            uncertainty: self.uncertainty.saturating_add(before.uncertainty),
            basis: self.basis,
            audited: self.audited && before.audited,
            why: self.why.clone().or_else(|| before.why.clone()),
        }
    }

    /// Adds later figures.
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
        self.ends_kernel = sum(self.ends_kernel, later.ends_kernel);
        self.ends_difference = signed(self.ends_difference, later.ends_difference);
        self.alive_growth = signed(self.alive_growth, later.alive_growth);
        self.alive_difference = signed(self.alive_difference, later.alive_difference);
        self.reused_seen = sum(self.reused_seen, later.reused_seen);
        self.reused_kernel = sum(self.reused_kernel, later.reused_kernel);
        self.reused_difference = signed(self.reused_difference, later.reused_difference);
        self.resets_sent_seen = sum(self.resets_sent_seen, later.resets_sent_seen);
        self.resets_sent_kernel = sum(self.resets_sent_kernel, later.resets_sent_kernel);
        self.resets_sent_difference =
            signed(self.resets_sent_difference, later.resets_sent_difference);
        if later.resets_sent_why.is_some() {
            self.resets_sent_why.clone_from(&later.resets_sent_why);
        }
        self.connections_reset_seen += later.connections_reset_seen;
        self.connections_reset_kernel = sum(
            self.connections_reset_kernel,
            later.connections_reset_kernel,
        );
        self.connections_reset_difference = signed(
            self.connections_reset_difference,
            later.connections_reset_difference,
        );
        self.kernel_counted = self
            .kernel_counted
            .zip(later.kernel_counted)
            .map(|(sum, later)| sum.and(&later));
        // An error of one reading is compensated by the next one.
        self.uncertainty = self.uncertainty.max(later.uncertainty);
        self.overflow_uncertainty = self.overflow_uncertainty.max(later.overflow_uncertainty);
        self.resets_sent_uncertainty = self
            .resets_sent_uncertainty
            .max(later.resets_sent_uncertainty);
        self.connections_reset_uncertainty = self
            .connections_reset_uncertainty
            .max(later.connections_reset_uncertainty);
        self.ends_uncertainty = self.ends_uncertainty.max(later.ends_uncertainty);
        self.reused_uncertainty = self.reused_uncertainty.max(later.reused_uncertainty);
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

    /// Whether nothing happened in the namespace.
    pub fn is_quiet(&self) -> bool {
        self.births_seen == 0
            && self.overflow_seen == 0
            && self.ends_seen.unwrap_or(0) == 0
            && self.births_kernel.unwrap_or(0) == 0
            && self.overflow_kernel.unwrap_or(0) == 0
            && self.resets_sent_seen.unwrap_or(0) == 0
            && self.resets_sent_kernel.unwrap_or(0) == 0
            && self.connections_reset_seen == 0
            && self.connections_reset_kernel.unwrap_or(0) == 0
    }

    /// By how much what was seen differs from what the kernel counted, beyond the uncertainty of reading, in the order
    /// of [`COMPARED`]; 0 if it does not, or can't be compared.
    pub fn off_by(&self) -> [i64; COMPARED.len()] {
        self.compared().map(|(difference, uncertainty)| {
            difference
                .filter(|difference| difference.unsigned_abs() > uncertainty)
                .unwrap_or(0)
        })
    }

    /// The differences, and their possible errors, in the order of [`COMPARED`].
    pub fn compared(&self) -> [(Option<i64>, u64); COMPARED.len()] {
        [
            (self.difference, self.uncertainty),
            (self.overflow_difference, self.overflow_uncertainty),
            (self.resets_sent_difference, self.resets_sent_uncertainty),
            (
                self.connections_reset_difference,
                self.connections_reset_uncertainty,
            ),
            (self.ends_difference, self.ends_uncertainty),
            (self.reused_difference, self.reused_uncertainty),
        ]
    }

    /// Whether a figure differs from the kernel's by more than the uncertainty of reading.
    pub fn is_off(&self) -> bool {
        self.off_by() != [0; COMPARED.len()]
    }
}

/// The figures that are compared with the kernel's counters.
pub const COMPARED: [&str; 6] = [
    "TIME_WAITs",
    "refused TIME_WAITs",
    "RSTs sent",
    "connections reset",
    "TIME_WAITs ended",
    "reused TIME_WAITs",
];

/// Number of network namespaces in which a figure differs.
pub fn count_off(rows: &[AuditRow]) -> u64 {
    rows.iter().filter(|row| row.is_off()).count() as u64
}

/// A warning to read before any figure: that some differ from what the kernel counted. `None` if none does.
pub fn warning(rows: &[AuditRow]) -> Option<String> {
    let off: Vec<&AuditRow> = rows.iter().filter(|row| row.is_off()).collect();
    if off.is_empty() {
        return None;
    }
    let figures: Vec<String> = COMPARED
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
        "COUNTERS DIFFER: in {} network namespace{} figures differ from what the kernel counted: {}",
        off.len(),
        if off.len() == 1 { "" } else { "s" },
        figures.join(", ")
    ))
}
