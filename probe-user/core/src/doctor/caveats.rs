//! What limits a diagnosis.

use super::facts::DoctorFacts;
use super::finding::Finding;
use crate::event::quantity;
use crate::filter::Filter;
use crate::model::audit::AuditRow;

/// The smallest number that a check judges.
const FEWEST: u64 = 5;
/// A difference to the kernel's counters below this part changes no finding.
const SMALL_PART: f64 = 0.01;

/// In sentences; empty if nothing weakens the judgement.
pub fn caveats(facts: &DoctorFacts, filter: &Filter, findings: &[Finding]) -> Vec<String> {
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
    caveats.extend(uncertain(facts, findings));
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

/// Namespaces in which TIME_WAITs and RSTs seen may not be all. One that was removed counts only if a finding is about it:
/// the others are judged by what they are at the end.
fn uncertain(facts: &DoctorFacts, findings: &[Finding]) -> Vec<String> {
    let is_judged = |netns: u32| {
        let is_named = |finding: &Finding| {
            let figures = &finding.figures;
            figures["netns"] == netns || figures["budget"]["netns"] == netns
        };
        facts.namespaces.contains_key(&netns) || findings.iter().any(is_named)
    };
    let rows = || facts.report.audit.iter().filter(|row| is_judged(row.netns));
    let numbers = |rows: &[&AuditRow]| rows.iter().map(|row| row.netns).collect::<Vec<u32>>();
    let mut sentences = Vec::new();
    let off: Vec<&AuditRow> = rows().filter(|row| differs_much(row)).collect();
    if !off.is_empty() {
        sentences.push(format!(
            "TIME_WAITs or RSTs seen are not those that the kernel counted in {}",
            facts.names(&numbers(&off))
        ));
    }
    // Not compared, or what was counted since the last comparison may be missing.
    let unsure: Vec<&AuditRow> = rows()
        .filter(|row| !row.audited && row.births_seen > 0)
        .collect();
    if let Some(first) = unsure.first() {
        sentences.push(format!(
            "TIME_WAITs seen could not be compared with the kernel's counters in {}{}",
            facts.names(&numbers(&unsure)),
            first
                .why
                .as_ref()
                .map_or_else(String::new, |why| format!(": {why}"))
        ));
    }
    sentences
}

/// Whether a difference could change a finding.
fn differs_much(row: &AuditRow) -> bool {
    let kernel = [
        row.births_kernel,
        row.overflow_kernel,
        row.resets_sent_kernel,
        row.connections_reset_kernel,
        row.ends_kernel,
        row.reused_kernel,
    ];
    let differences = row.off_by().map(i64::unsigned_abs);
    let mut figures = differences.iter().zip(kernel);
    figures
        .any(|(by, kernel)| *by >= FEWEST && *by as f64 >= kernel.unwrap_or(0) as f64 * SMALL_PART)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::hooks::ResetsSeen;
    use crate::model::audit::{CountedAt, Last, Reading, Sight, Uncertainty, audit};

    const SIGHT: Sight = Sight {
        counted: CountedAt::Birth { ends_seen: true },
        resets: ResetsSeen::All,
    };

    fn said(row: AuditRow, findings: &[Finding]) -> Vec<String> {
        let mut facts = samples::healthy();
        facts.report.audit = vec![row];
        caveats(&facts, &Filter::default(), findings)
    }

    fn off(netns: u32, seen: u64, kernel: u64) -> AuditRow {
        let mut reading = Reading::default();
        reading.kernel.tw = kernel;
        reading.kernel.alive = kernel;
        reading.seen.births = seen;
        let last = Last::AtEnd {
            reading,
            uncertainty: Uncertainty::default(),
        };
        audit(netns, Some(Reading::default()), last, SIGHT)
    }

    #[test]
    fn a_difference_is_a_caveat_if_it_could_change_a_finding() {
        assert!(off(samples::NETNS, 1_000, 1_003).is_off());
        assert!(said(off(samples::NETNS, 1_000, 1_003), &[]).is_empty());
        assert!(said(off(samples::NETNS, 1_000, 1_008), &[]).is_empty());
        let much = said(off(samples::NETNS, 800, 1_000), &[]);
        assert!(
            much[0].ends_with("kernel counted in namespace 42"),
            "{much:?}"
        );
    }

    #[test]
    fn a_namespace_that_was_removed_weakens_only_what_was_found_of_it() {
        let gone = |netns| {
            let mut seen = Reading::default().seen;
            seen.births = 9;
            audit(
                netns,
                Some(Reading::default()),
                Last::Gone { last: None, seen },
                SIGHT,
            )
        };
        assert!(said(gone(7), &[]).is_empty());
        let mut facts = samples::healthy();
        facts.report.budgets.push(samples::budget(0, 3));
        let mut found = super::super::findings(&facts);
        found[0].figures["budget"]["netns"] = 7.into();
        let why = said(gone(7), &found);
        assert!(why[0].contains("in namespace 7: it vanished"), "{why:?}");
        assert_eq!(said(gone(samples::NETNS), &[]).len(), 1);
    }
}
