//! The result of `doctor`.

use serde::Serialize;
use serde_json::Value;

use super::budget;
use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};
use super::findings;
use crate::event::Timestamp;
use crate::event::quantity;
use crate::filter::Filter;
use crate::model::audit::{AuditRow, warning};
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
            .with_overflown(tally.overflown_listeners());
        (Self::new(&facts, tally.filter()), facts.report)
    }

    /// Runs the checks.
    pub fn new(facts: &DoctorFacts, filter: &Filter) -> Self {
        Self {
            figures: DiagnosisFigures::of(facts),
            caveats: caveats(facts, filter),
            findings: findings(facts),
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

fn caveats(facts: &DoctorFacts, filter: &Filter) -> Vec<String> {
    let report = &facts.report;
    let left_out = report.pairs_left_out;
    let mut caveats = Vec::new();
    let lost: u64 = report.lost.iter().map(|row| row.count).sum();
    if lost > 0 {
        caveats.push(format!(
            "{lost} events were lost, so figures are lower bounds (see twtrace report)"
        ));
    }
    if left_out > 0 {
        caveats.push(format!(
            "{left_out} events found no room in the table by destination"
        ));
    }
    let differs = |row: &&AuditRow| row.is_off() || (!row.audited && row.births_seen > 0);
    let unsure: Vec<u32> = report
        .audit
        .iter()
        .filter(differs)
        .map(|row| row.netns)
        .collect();
    if !unsure.is_empty() {
        caveats.push(format!(
            "TIME_WAITs and RSTs seen are not, or not surely, those that the kernel counted in {}",
            facts.names(&unsure)
        ));
    }
    let unlisted = report.unscanned.len().max(report.budgets_unknown.len());
    if let Some((netns, why)) = facts.unknown.first() {
        caveats.push(format!(
            "{} namespaces could not be read, such as {}: {why}",
            facts.unknown.len(),
            facts.name(*netns)
        ));
    } else if let Some(row) = report
        .budgets_unknown
        .iter()
        .chain(&report.unscanned)
        .next()
    {
        caveats.push(format!(
            "sockets of {unlisted} namespaces could not be listed, such as {}: {}",
            facts.name(row.netns),
            row.why
        ));
    }
    if report.other_budgets.count > 0 {
        caveats.push(format!(
            "{} port pools were not checked",
            report.other_budgets.count
        ));
    }
    if let Some(history) = &report.history {
        caveats.push(
            "this is from a history: port pools are checked as they were when they were fullest, CLOSE_WAIT and \
             settings as they were at the end"
                .to_owned(),
        );
        if history.untraced_ns > 0 {
            caveats.push(format!(
                "nothing is known of {}",
                quantity::duration(history.untraced_ns)
            ));
        }
    }
    if filter.hides_events() {
        caveats.push("only what passes the filter was checked".to_owned());
    }
    caveats
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
