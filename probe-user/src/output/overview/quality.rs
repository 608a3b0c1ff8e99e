//! How far the figures can be trusted, in one line.

use twtrace_core::event::quantity::count;
use twtrace_core::event::text::escape;
use twtrace_core::filter::Hidden;
use twtrace_core::model::exactness::{FigureSet, Inexact, UNATTRIBUTED};
use twtrace_core::model::report::Report;

use super::Overview;

/// Such as `0 lost · matches the kernel's counters · 4 of 7 hooks degraded`.
pub(super) fn line(overview: &Overview<'_>) -> String {
    let report = overview.report;
    let lost: u64 = report.lost.iter().map(|row| row.count).sum();
    let lost = match lost {
        0 => "0 lost".to_owned(),
        lost => format!("{} lost", count(lost)),
    };
    let mut parts = vec![match missing(report) {
        Some(missing) => format!("{lost}, {missing}figures with ≥ are lower bounds"),
        None => lost,
    }];
    let compared = report.audit.iter().filter(|row| row.audited).count();
    let all = report
        .audit
        .iter()
        .filter(|row| row.audited || !row.is_quiet())
        .count();
    parts.push(match (report.audit_off, compared, all) {
        (_, _, 0) => "not compared with the kernel's counters".to_owned(),
        (0, compared, all) if compared == all => "matches the kernel's counters".to_owned(),
        (0, compared, all) => format!(
            "matches the kernel's counters in {compared} of {all} namespaces, the others can't be compared"
        ),
        (off, ..) => format!(
            "differs from the kernel's counters in {off} namespace{}",
            if off == 1 { "" } else { "s" }
        ),
    });
    let degraded = report.tiers.iter().filter(|choice| choice.lost.is_some());
    match degraded.count() {
        0 => {}
        degraded => parts.push(format!(
            "{degraded} of {} hooks degraded",
            report.tiers.len()
        )),
    }
    if report.pairs_left_out > 0 {
        parts.push(format!(
            "{} events had no room by destination (≥)",
            count(report.pairs_left_out)
        ));
    }
    match overview.filter.hidden() {
        Hidden::Nothing => {}
        Hidden::Namespaces => parts.push("filtered".to_owned()),
        Hidden::Connections | Hidden::Events => parts.push(
            "filtered, except for TIME_WAITs that exist and findings about whole namespaces"
                .to_owned(),
        ),
    }
    parts.join(" · ")
}

/// What makes figures lower bounds, other than lost events; `None` if they are exact.
fn missing(report: &Report) -> Option<String> {
    if report.exact.processes && report.exact.destinations {
        return None;
    }
    let is_of = |row: &&Inexact| {
        let figures = [FigureSet::Processes, FigureSet::Destinations];
        figures.iter().any(|it| row.figures.contains(it))
    };
    let is_lost = |row: &Inexact| report.lost.iter().any(|lost| lost.probe.word() == row.by);
    let mut others = report
        .inexact
        .iter()
        .filter(is_of)
        .filter(|row| !is_lost(row));
    Some(match others.next() {
        Some(row) if row.by == UNATTRIBUTED => {
            format!("{} without their process, ", count(row.count))
        }
        Some(row) => format!(
            "{} runs of {} skipped by the kernel, ",
            count(row.count),
            escape(&row.by)
        ),
        None => String::new(),
    })
}
