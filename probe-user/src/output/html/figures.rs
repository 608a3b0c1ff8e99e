//! The totals, in large type.

use maud::{Markup, html};
use twtrace_core::model::counts::Counts;
use twtrace_core::model::report::{PortRow, Report};
use twtrace_core::model::timeline::Bucket;
use twtrace_wire::Side;

use super::text::{Number, grouped};

fn counts(report: &Report) -> Counts {
    let mut counts = Counts::default();
    for row in &report.processes {
        counts.add_all(&row.counts);
    }
    counts
}

fn ports(report: &Report, of: fn(&PortRow) -> u64) -> u64 {
    let rows = report.processes.iter().flat_map(|row| &row.ports);
    rows.map(of).sum()
}

/// Totals of the figures that the timeline also has.
pub fn sums(report: &Report) -> Bucket {
    let counts = counts(report);
    Bucket {
        reset_sent: counts.reset_sent.total(),
        reset_received: counts.reset_received.total(),
        overflow: counts.overflow.total(),
        time_wait: counts.time_wait,
        port_failures: ports(report, |row| row.failures),
        ..Bucket::default()
    }
}

/// One tile per total.
pub fn render(report: &Report) -> Markup {
    let counts = counts(report);
    let ports = |of| ports(report, of);
    let at_least = !report.exact.processes;
    let side = |side| grouped(counts.time_wait.of(side));
    let mut sides = format!(
        "{} as client, {} as server",
        side(Side::Client),
        side(Side::Server)
    );
    if counts.time_wait.of(Side::Unknown) > 0 {
        sides.push_str(&format!(", {} unknown", side(Side::Unknown)));
    }
    let fullest = report
        .budgets
        .iter()
        .filter_map(twtrace_core::model::budget::row::BudgetRow::used)
        .max_by(f64::total_cmp);
    html! {
        section aria-labelledby="sums-h" {
            h2 #sums-h.unseen { "In short" }
            ul.tiles {
                (tile("TIME_WAITs created", counts.time_wait.total(), at_least, &sides))
                (tile("RSTs sent", counts.reset_sent.total(), at_least,
                      &format!("{} received", grouped(counts.reset_received.total()))))
                (tile("Port allocations failed", ports(|row| row.failures), at_least,
                      &format!("of {}", grouped(ports(|row| row.count)))))
                li {
                    strong {
                        @match fullest {
                            Some(used) => { (format!("{:.0} %", used * 100.0)) }
                            None => "–",
                        }
                    }
                    span { "Fullest port pool" }
                    small { "of " (Number(report.budgets.len() as u64 + report.other_budgets.count)) }
                }
                (tile("In CLOSE_WAIT at the end", report.close_wait.iter().map(|row| row.count).sum(), false,
                      "closed by the peer, not by the process"))
            }
        }
    }
}

fn tile(name: &str, number: u64, at_least: bool, more: &str) -> Markup {
    html! {
        li {
            strong { @if at_least { "≥" } (Number(number)) }
            span { (name) }
            small { (more) }
        }
    }
}
