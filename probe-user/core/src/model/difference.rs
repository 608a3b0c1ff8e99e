//! What changed between two reports: commands with each destination, by their rates.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Serialize, Serializer};
use twtrace_wire::{Side, Unattributed};

use super::destination::Destination;
use super::groups::{self, GroupBy, GroupLabel, PairGroup};
use super::report::Report;
use crate::event::Timestamp;
use crate::event::quantity::rate;
use crate::event::words::{self, Word};

/// Two reports, compared.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Difference {
    /// The earlier report.
    pub old: Compared,
    /// The later one.
    pub new: Compared,
    /// Commands with each destination: those whose TIME_WAIT rate changed most first, then those whose RST rate did. Only
    /// rows with a change.
    pub rows: Vec<DifferenceRow>,
    /// Number of commands with a destination whose rates are the same in both.
    pub unchanged: u64,
}

/// One of the reports.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct Compared {
    /// Name of the host.
    pub host: String,
    /// When counting began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Time that was counted, nanoseconds.
    pub duration_ns: u64,
    /// Whether rates may be too low: events were lost, or some had no room by destination.
    pub is_lower_bound: bool,
    /// The rates of all rows, including those without a change.
    pub total: Rates,
}

/// Events per second.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// TIME_WAIT sockets created.
    #[serde(serialize_with = "thousandths")]
    pub time_wait_per_s: f64,
    /// RSTs sent.
    #[serde(serialize_with = "thousandths")]
    pub reset_sent_per_s: f64,
    /// RSTs received.
    #[serde(serialize_with = "thousandths")]
    pub reset_received_per_s: f64,
    /// connect() and bind() calls that found no local port.
    #[serde(serialize_with = "thousandths")]
    pub no_port_per_s: f64,
}

/// One command with one destination, in all network namespaces: these have other numbers after a boot.
#[derive(schemars::JsonSchema, Clone, Debug, Serialize)]
pub struct DifferenceRow {
    /// Name of the command; null if no process is known. Untrusted: escape it before printing.
    pub comm: Option<String>,
    /// Why no process is known.
    #[schemars(with = "Option<crate::event::schema::WordOf<Unattributed>>")]
    pub unattributed: Option<&'static str>,
    /// What stands for the name if it is null.
    #[serde(skip)]
    pub label: GroupLabel,
    /// Which end this host's sockets were.
    #[serde(serialize_with = "words::serialize")]
    #[schemars(with = "crate::event::schema::WordOf<Side>")]
    pub side: Side,
    /// Remote `address:port` of clients, `:port` of servers, the remote address alone if the side is unknown.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "String")]
    pub destination: Destination,
    /// The earlier rates.
    pub old: Rates,
    /// The later ones.
    pub new: Rates,
}

impl Rates {
    fn add(&mut self, group: &PairGroup, seconds: f64) {
        let counts = &group.counts;
        let per_s = |count: u64| count as f64 / seconds;
        self.time_wait_per_s += per_s(counts.time_wait);
        self.reset_sent_per_s += per_s(counts.deaths.reset_sent.total());
        self.reset_received_per_s += per_s(counts.deaths.reset_received.total());
        self.no_port_per_s += per_s(counts.connect_failures + counts.bind_failures);
    }

    fn figures(&self) -> [f64; 4] {
        [
            self.time_wait_per_s,
            self.reset_sent_per_s,
            self.reset_received_per_s,
            self.no_port_per_s,
        ]
    }
}

impl DifferenceRow {
    /// How much each figure changed.
    fn changes(&self) -> [f64; 4] {
        let (old, new) = (self.old.figures(), self.new.figures());
        std::array::from_fn(|index| (new[index] - old[index]).abs())
    }

    fn is_changed(&self) -> bool {
        // What is printed the same has not changed, unless it began or ended.
        let pairs = self.old.figures().into_iter().zip(self.new.figures());
        pairs
            .into_iter()
            .any(|(old, new)| rate(old) != rate(new) || (old == 0.0) != (new == 0.0))
    }
}

impl Difference {
    /// Compares two reports.
    pub fn of(old: &Report, new: &Report) -> Self {
        let mut rows: HashMap<(GroupLabel, Side, Destination), DifferenceRow> = HashMap::new();
        let mut sides = [compared(old), compared(new)];
        for (index, report) in [old, new].into_iter().enumerate() {
            let seconds = (report.duration_ns as f64 / 1e9).max(0.001);
            for group in groups::pairs(&report.pairs, GroupBy::Name) {
                sides[index].total.add(&group, seconds);
                let key = (group.label.clone(), group.side, group.destination);
                let row = rows.entry(key).or_insert_with(|| DifferenceRow {
                    comm: match &group.label {
                        GroupLabel::Is(name) => Some(name.clone()),
                        GroupLabel::Without | GroupLabel::Nobody(_) => None,
                    },
                    unattributed: match &group.label {
                        GroupLabel::Nobody(reason) => Some(reason.word()),
                        GroupLabel::Is(_) | GroupLabel::Without => None,
                    },
                    label: group.label.clone(),
                    side: group.side,
                    destination: group.destination,
                    old: Rates::default(),
                    new: Rates::default(),
                });
                let rates = if index == 0 {
                    &mut row.old
                } else {
                    &mut row.new
                };
                rates.add(&group, seconds);
            }
        }
        let all = rows.len();
        let mut rows: Vec<DifferenceRow> = rows.into_values().collect();
        rows.retain(DifferenceRow::is_changed);
        rows.sort_by(|one, other| {
            let by_change = other
                .changes()
                .iter()
                .zip(one.changes())
                .map(|(other, one)| other.total_cmp(&one))
                .find(|order| *order != Ordering::Equal);
            by_change.unwrap_or_else(|| {
                let place =
                    |row: &DifferenceRow| (row.side as u32, row.destination, row.label.clone());
                place(one).cmp(&place(other))
            })
        });
        let [old, new] = sides;
        Self {
            old,
            new,
            unchanged: (all - rows.len()) as u64,
            rows,
        }
    }
}

fn compared(report: &Report) -> Compared {
    Compared {
        host: report.host.clone(),
        start: report.start,
        end: report.end,
        duration_ns: report.duration_ns,
        is_lower_bound: report.has_inexact_pairs(),
        total: Rates::default(),
    }
}

fn thousandths<S: Serializer>(rate: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((rate * 1e3).round() / 1e3)
}

fn as_text<S: Serializer>(destination: &Destination, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(destination)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::doctor::samples as facts;
    use crate::event::samples;

    fn report(duration_s: u64, rows: &[(&str, &str, u64, u64)]) -> Report {
        let mut report = facts::healthy().report;
        report.duration_ns = duration_s * 1_000_000_000;
        for (pid, (comm, remote, time_wait, linger_zero)) in (1..).zip(rows) {
            let mut pair = facts::pair(Side::Client, remote, *time_wait, *linger_zero);
            pair.process = Some(Arc::new(samples::process(pid, comm)));
            report.pairs.push(pair);
        }
        report
    }

    #[test]
    fn rates_are_compared_not_counts() {
        let old = report(
            10,
            &[
                ("curl", "10.0.0.1:80", 100, 0),
                ("curl", "10.0.0.1:80", 100, 0),
                ("wget", "10.0.0.1:80", 50, 0),
                ("gone", "10.0.0.1:80", 0, 20),
            ],
        );
        let new = report(
            20,
            &[
                ("wget", "10.0.0.1:80", 100, 0),
                ("curl", "10.0.0.1:80", 1_000, 0),
                ("new", "10.0.0.2:80", 20, 0),
            ],
        );
        let difference = Difference::of(&old, &new);
        let rows: Vec<_> = difference
            .rows
            .iter()
            .map(|row| {
                (
                    row.comm.as_deref().unwrap(),
                    row.old.time_wait_per_s,
                    row.new.time_wait_per_s,
                )
            })
            .collect();
        assert_eq!(
            rows,
            [("curl", 20.0, 50.0), ("new", 0.0, 1.0), ("gone", 0.0, 0.0)]
        );
        assert_eq!(difference.rows[2].old.reset_sent_per_s, 2.0);
        assert_eq!(difference.unchanged, 1);
        assert_eq!(difference.old.total.time_wait_per_s, 25.0);
        assert_eq!(difference.new.total.time_wait_per_s, 56.0);
    }
}
