//! The result of `doctor`.

use serde::Serialize;
use serde_json::Value;

use super::budget;
use super::caveats::caveats;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::findings;
use super::what_if::WhatIf;
use crate::event::Timestamp;
use crate::filter::Filter;
use crate::model::audit::warning;
use crate::model::budget::row::BudgetRow;
use crate::model::coverage::Coverage;
use crate::model::report::Report;
use crate::model::tally::Tally;

/// The document of `doctor --json`.
#[derive(schemars::JsonSchema, Debug, Serialize)]
pub struct Diagnosis {
    /// When counting began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Number of network namespaces in which figures differ from the kernel's, as in reports.
    pub audit_off: u64,
    /// The same in words.
    #[serde(skip)]
    pub audit_warning: Option<String>,
    /// Time between both, nanoseconds.
    pub duration_ns: u64,
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// Figures that describe the host.
    pub figures: DiagnosisFigures,
    /// What limits the diagnosis, in sentences; empty if nothing does.
    pub caveats: Vec<String>,
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
    /// The answer to `--what-if`; null without it.
    pub what_if: Option<WhatIf>,
    /// The time that it covers, if it is from a history; then `duration_ns` is without gaps.
    pub history: Option<Coverage>,
}

/// Totals over everything that was sampled.
#[derive(schemars::JsonSchema, Debug, Serialize)]
#[schemars(rename = "Figures")]
pub struct DiagnosisFigures {
    /// Namespaces whose settings and counters were read.
    pub namespaces: u64,
    /// TIME_WAITs created.
    pub time_waits: u64,
    /// RSTs sent.
    pub resets_sent: u64,
    /// RSTs received.
    pub resets_received: u64,
    /// Ephemeral port allocations.
    pub searches: u64,
    /// Allocations that failed.
    pub searches_failed: u64,
    /// Whether `searches` has those that succeeded: a part of a recording has only events.
    #[serde(skip)]
    pub counts_all_searches: bool,
    /// Calls for one fixed port that failed since it was taken: no allocations.
    pub fixed_ports_failed: u64,
    /// Connections in CLOSE_WAIT at the end.
    pub close_wait: u64,
    /// The port pool with the highest usage, as in reports; null if there is none.
    #[schemars(with = "Option<BudgetRow>")]
    pub fullest_budget: Value,
    /// The same in words.
    #[serde(skip)]
    pub fullest_in_words: Option<String>,
}

impl Diagnosis {
    /// From everything reported up to the latest time; `report` covers the same, and is returned.
    pub fn of(tally: &Tally, report: Report) -> (Self, Report) {
        let facts = DoctorFacts::new(report, tally.namespaces(), tally.filter())
            .with_samples(tally.end_samples());
        (Self::new(&facts, tally.filter()), facts.report)
    }

    /// Runs the checks.
    pub fn new(facts: &DoctorFacts, filter: &Filter) -> Self {
        let findings = findings(facts);
        Self {
            figures: DiagnosisFigures::of(facts),
            caveats: caveats(facts, filter, &findings),
            findings,
            what_if: None,
            history: facts.report.history.clone(),
            start: facts.report.start,
            end: facts.report.end,
            audit_off: facts.report.audit_off,
            audit_warning: warning(&facts.report.audit),
            duration_ns: facts.report.duration_ns,
            host: facts.report.host.clone(),
            kernel: facts.report.kernel.clone(),
        }
    }

    /// Severity of the worst finding.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

impl DiagnosisFigures {
    fn of(facts: &DoctorFacts) -> Self {
        let report = &facts.report;
        let sum = |number: fn(&crate::model::counts::Counts) -> u64| {
            report.processes.iter().map(|row| number(&row.counts)).sum()
        };
        let ports = || report.processes.iter().flat_map(|row| &row.ports);
        let fullest = budget::fullest(facts);
        Self {
            namespaces: facts.namespaces.len() as u64,
            time_waits: sum(|counts| counts.time_wait.total()),
            resets_sent: sum(|counts| counts.reset_sent.total()),
            resets_received: sum(|counts| counts.reset_received.total()),
            searches: ports().map(|port| port.count).sum(),
            searches_failed: ports().map(|port| port.failures).sum(),
            counts_all_searches: report.has_totals,
            fixed_ports_failed: report.fixed_ports_left_out
                + report
                    .fixed_ports
                    .iter()
                    .flat_map(|row| &row.calls)
                    .map(|calls| calls.count)
                    .sum::<u64>(),
            close_wait: report.close_wait.iter().map(|row| row.count).sum(),
            fullest_budget: budget::fullest_json(facts),
            fullest_in_words: fullest.and_then(fullest_in_words),
        }
    }
}

/// Such as `3 of 28232 ports from 10.0.0.1 to 10.0.0.2:80 are used (0 %)`.
fn fullest_in_words(row: &BudgetRow) -> Option<String> {
    let (capacity, free) = (row.capacity?, row.free?);
    Some(format!(
        "{} of {capacity} ports {} are used ({:.0} %)",
        capacity.saturating_sub(free),
        budget::towards(row),
        row.used()? * 100.0
    ))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::event::LostBy;
    use crate::model::report::{LostRow, UnscannedRow};

    #[test]
    fn a_healthy_host_is_described() {
        let diagnosis = Diagnosis::new(&samples::healthy(), &Filter::default());
        assert!(diagnosis.findings.is_empty() && diagnosis.caveats.is_empty());
        assert_eq!(diagnosis.worst(), None);
        assert_eq!(
            diagnosis.figures.fullest_in_words.as_deref(),
            Some("100 of 1000 ports from 10.0.0.1 to 10.0.0.2:80 are used (10 %)")
        );
    }

    #[test]
    fn what_weakens_the_judgement_is_told() {
        let mut facts = samples::healthy();
        facts.report.lost.push(LostRow {
            probe: LostBy::Decode,
            count: 4,
        });
        facts.report.budgets_unknown.push(UnscannedRow {
            netns: 9,
            why: "not permitted".into(),
        });
        let filter = Filter {
            netns: vec![samples::NETNS],
            ..Filter::default()
        };
        let caveats = Diagnosis::new(&facts, &filter).caveats;
        assert_eq!(caveats.len(), 3, "{caveats:?}");
        assert!(caveats[0].starts_with("4 events were lost"));
        assert!(caveats[1].contains("such as 9: not permitted"));
        assert!(caveats[2].contains("filter"));
    }
}
