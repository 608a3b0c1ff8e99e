//! How far the figures can be trusted, in one line.

use twtrace_core::event::quantity::count;

use super::Overview;

/// Such as `Data quality: 0 lost · matches the kernel's counters · 4 of 7 hooks degraded`.
pub(super) fn line(overview: &Overview<'_>) -> String {
    let report = overview.report;
    let lost: u64 = report.lost.iter().map(|row| row.count).sum();
    let mut parts = vec![match lost {
        0 if report.exact.processes && report.exact.destinations => "0 lost".to_owned(),
        0 => "figures with ≥ are lower bounds (--details)".to_owned(),
        lost => format!("{} lost, figures with ≥ are lower bounds", count(lost)),
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
            "{} events had no room by destination",
            count(report.pairs_left_out)
        ));
    }
    if overview.is_filtered {
        parts.push("filtered".to_owned());
    }
    format!("Data quality: {}", parts.join(" · "))
}
