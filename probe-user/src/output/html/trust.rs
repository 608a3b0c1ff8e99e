//! How reliable the figures are: a summary at the top, details at the end.

use maud::{Markup, html};
use twtrace_core::hooks::Tier;
use twtrace_core::model::audit::{AuditRow, warning};
use twtrace_core::model::report::Report;

use super::sections::grid;
use super::text::{grouped, shown};
use super::{HtmlPage, section};
use crate::output::table::{audit, lost};

/// The worst finding, losses, the result of the audit and the limits of the hooks; never left out.
pub fn summary(page: &HtmlPage) -> Markup {
    let report = page.report;
    let lost: u64 = report.lost.iter().map(|row| row.count).sum();
    let missed: u64 = report
        .recursion_misses
        .iter()
        .flatten()
        .map(|row| row.count)
        .sum();
    let degraded: Vec<&str> = report
        .tiers
        .iter()
        .filter(|choice| choice.lost.is_some())
        .map(|choice| choice.question.name())
        .collect();
    let (is_exact, audited) = audited(report);
    html! {
        section.trust aria-labelledby="trust-h" {
            h2 #trust-h.unseen { "First of all" }
            ul {
                @if let Some(warning) = warning(&report.audit) {
                    (line(false, &warning, "audit"))
                }
                @if let Some(worst) = page.findings.first() {
                    (line(false, &format!(
                        "Findings: {}, the worst {}: {}",
                        page.findings.len(), worst.severity.word(), worst.title
                    ), "findings"))
                } @else {
                    (line(true, "Findings: none", "findings"))
                }
                (line(lost == 0 && missed == 0, &match (lost, missed) {
                    (0, 0) => "Lost: nothing".to_owned(),
                    (lost, 0) => format!("Lost: {}; figures marked ≥ are lower bounds", grouped(lost)),
                    (0, missed) => format!(
                        "Lost: nothing; but the kernel skipped {} runs of programs", grouped(missed)
                    ),
                    (lost, missed) => format!(
                        "Lost: {}; the kernel skipped {} runs of programs", grouped(lost), grouped(missed)
                    ),
                }, "lost"))
                (line(is_exact, &audited, "audit"))
                (line(degraded.is_empty(), &if degraded.is_empty() {
                    "Hooks: every capability uses the best".to_owned()
                } else {
                    format!(
                        "Hooks: {} of {} capabilities use degraded hooks: {}",
                        degraded.len(), report.tiers.len(), degraded.join(", ")
                    )
                }, "hooks"))
            }
        }
    }
}

fn line(is_good: bool, words: &str, id: &str) -> Markup {
    html! {
        li class=(if is_good { "good" } else { "doubt" }) {
            span aria-hidden="true" { (if is_good { "✓ " } else { "! " }) }
            a href={ "#" (id) } { (shown(words)) }
        }
    }
}

/// Whether all TIME_WAITs and RSTs were seen, according to the kernel, with a sentence about it.
fn audited(report: &Report) -> (bool, String) {
    let busy = || report.audit.iter().filter(|row| !row.is_quiet());
    let seen: u64 = busy().map(|row| row.births_seen).sum();
    let open = busy().filter(|row| !row.audited).count();
    let off: u64 = busy()
        .map(|row| row.difference.map_or(0, i64::unsigned_abs))
        .sum();
    let mut words = match (busy().count(), off) {
        (0, _) => "Kernel's counters: neither twtrace nor the kernel counted a TIME_WAIT or a RST"
            .to_owned(),
        (all, 0) if open == all => format!("Kernel's counters: {} TIME_WAITs seen", grouped(seen)),
        (_, 0) => format!(
            "Kernel's counters: {} TIME_WAITs seen, as many as the kernel counted",
            grouped(seen)
        ),
        _ => format!(
            "Kernel's counters: {} TIME_WAITs seen, {} more or fewer than the kernel counted",
            grouped(seen),
            grouped(off)
        ),
    };
    if open > 0 {
        words.push_str(&format!("; not compared in {open} namespaces"));
    }
    let resets: u64 = busy().filter_map(|row| row.resets_sent_seen).sum();
    let off_by = |of: fn(&AuditRow) -> Option<i64>| -> u64 {
        busy().map(|row| of(row).map_or(0, i64::unsigned_abs)).sum()
    };
    let resets_off = off_by(|row| row.resets_sent_difference);
    let compares_resets = busy().any(|row| row.resets_sent_difference.is_some());
    match resets_off {
        0 if compares_resets => {
            words.push_str(&format!("; {} RSTs sent, also as many", grouped(resets)))
        }
        0 => {}
        off => words.push_str(&format!(
            "; {} RSTs sent, a difference of {}",
            grouped(resets),
            grouped(off)
        )),
    }
    let mut others_off = 0;
    for (what, off) in [
        ("refused ones", off_by(|row| row.overflow_difference)),
        (
            "connections reset",
            off_by(|row| row.connections_reset_difference),
        ),
        ("ended ones", off_by(|row| row.ends_difference)),
        ("reused ones", off_by(|row| row.reused_difference)),
    ] {
        if off > 0 {
            words.push_str(&format!("; {what}: a difference of {}", grouped(off)));
            others_off += off;
        }
    }
    (off + resets_off + others_off == 0 && open == 0, words)
}

/// The tables with the details.
pub fn details(report: &Report) -> Markup {
    let quiet = report.audit.iter().filter(|row| row.is_quiet()).count();
    html! {
        (section("audit", "Comparison with the kernel's own counters", &html! {
            (grid("Audit", &audit::grid(report)))
            @if quiet > 0 { p.note { (quiet) " namespaces without any." } }
        }))
        (section("lost", "Lost", &html! {
            @let rows = lost::grid(report);
            @if rows.is_empty() { p { "Nothing." } }
            (grid("Lost", &rows))
            @if let Some(why) = lost::why_no_misses(report) { p.note { "But " (why) "." } }
        }))
        (section("hooks", "Hooks of each capability, and what they can't see", &html! {
            dl.hooks {
                @for choice in &report.tiers {
                    dt { (choice.question.name()) " " code { (tier(choice.tier)) } }
                    dd {
                        @match &choice.lost {
                            Some(lost) => { span aria-hidden="true" { "! " } (shown(lost)) }
                            None => { span aria-hidden="true" { "✓ " } "in full" }
                        }
                    }
                }
            }
        }))
    }
}

fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::None => "no hook",
        tier => tier.name(),
    }
}
