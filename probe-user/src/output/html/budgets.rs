//! Free ephemeral ports: a bar for each port pool in use, and the table.

use maud::{Markup, html};
use twtrace_core::doctor;
use twtrace_core::model::budget::row::BudgetRow;
use twtrace_core::model::report::Report;

use super::sections::grid;
use super::text::{grouped, shown};
use super::{plot, section};
use crate::output::table::{SHOWN, budgets};

/// Maximum number of bars.
const DRAWN: usize = 10;

/// Only a sentence if no client holds a port.
pub fn render(report: &Report) -> Markup {
    let table = budgets::table(report, SHOWN);
    let body = html! {
        @if report.budgets.is_empty() && report.budgets_unknown.is_empty() {
            p { "No local port is held by a client." }
        } @else if table.is_empty() {
            p { "None is used to 1 %." }
        }
        ul.budgets {
            @for row in budgets::worth(report, SHOWN).into_iter().take(DRAWN) { (bar(row)) }
        }
        @if !table.is_empty() {
            p.note { "In the bars, dark: live sockets; pale: TIME_WAITs that are in the way; empty: free." }
        }
        (grid("Port pools", &table))
        @for remark in budgets::remarks(report, SHOWN) { p.note { (shown(&remark)) } }
    };
    section("budgets", "Ephemeral ports", &body)
}

fn bar(row: &BudgetRow) -> Markup {
    let name = doctor::budget::towards(row);
    let (Some(used), Some(capacity), Some(free)) = (row.used(), row.capacity, row.free) else {
        return html! {
            li {
                b { (shown(&name)) }
                span { @match &row.why { Some(why) => (shown(why)), None => "not known" } }
            }
        };
    };
    let share = |count: u32| f64::from(count) / f64::from(capacity.max(1));
    let live = share(row.live.unwrap_or(0));
    let words = format!(
        "{:.0} % used: {} of {} ports free",
        used * 100.0,
        grouped(free.into()),
        grouped(capacity.into())
    );
    let left = budgets::left(row);
    html! {
        li {
            b { (shown(&name)) }
            span {
                (words)
                @if left != "-" { ", " strong { (left) } }
                @if row.failures > 0 { ", " strong { (grouped(row.failures)) " allocations failed" } }
            }
            (plot::bar(&[("live", live), ("tw", (used - live).max(0.0))], &format!("{name}: {words}")))
        }
    }
}
