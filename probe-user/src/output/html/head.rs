//! Host, kernel, time and duration.

use maud::{Markup, html};
use twtrace_core::event::Timestamp;
use twtrace_core::event::quantity::duration;

use super::HtmlPage;
use super::text::shown;

/// The top of the page.
pub fn render(page: &HtmlPage) -> Markup {
    let report = page.report;
    html! {
        header {
            p.kicker { "twtrace report" }
            h1 { (shown(&report.host)) }
            dl.facts {
                div { dt { "Kernel" } dd { "Linux " (shown(&report.kernel)) } }
                div { dt { "From" } dd { (to_the_second(report.start)) " UTC" } }
                div { dt { "To" } dd { (to_the_second(report.end)) " UTC" } }
                @if let Some(history) = &report.history {
                    div { dt { "Out of" } dd { "a history, " (history.intervals) " intervals" } }
                    @if history.untraced_ns > 0 {
                        div { dt { "Not traced" } dd { (duration(history.untraced_ns)) } }
                    }
                }
                div { dt { "Duration" } dd { (duration(report.duration_ns)) } }
            }
        }
    }
}

/// Such as `2026-11-23 21:28:35`.
fn to_the_second(time: Timestamp) -> String {
    let text = time.to_string();
    let whole = text.split('.').next().unwrap_or(&text);
    whole.replace('T', " ")
}
