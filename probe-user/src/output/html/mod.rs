//! A report as one self-contained page: no script, no network, styles and plots inline. It can be mailed, printed, and
//! read on a phone.
//!
//! Names in it are untrusted input. Every text is passed through [`text::shown`], and [`maud`] escapes all strings, in
//! elements and in attributes; nothing here builds markup from strings. If one got through nevertheless, the page's own
//! policy lets no script run and nothing be loaded.

mod budgets;
mod figures;
mod findings;
mod head;
mod plot;
mod sections;
mod text;
mod timeline;
mod trust;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use twtrace_core::doctor::finding::Finding;
use twtrace_core::model::report::Report;
use twtrace_core::model::timeline::Timeline;

/// What the browser may do with the page: only display it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Contents of a page.
#[derive(Clone, Copy, Debug)]
pub struct HtmlPage<'a> {
    pub report: &'a Report,
    /// Counts over time.
    pub timeline: &'a Timeline,
    /// Findings, the worst first.
    pub findings: &'a [Finding],
    /// Caveats of the diagnosis.
    pub caveats: &'a [String],
}

/// The whole document.
pub fn render(page: &HtmlPage) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "twtrace: " (text::shown(&page.report.host)) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (head::render(page))
                main {
                    (trust::summary(page))
                    (figures::render(page.report))
                    (timeline::render(page))
                    (findings::render(page))
                    (budgets::render(page.report))
                    (sections::render(page.report))
                    (trust::details(page.report))
                }
                footer { p { "Created by twtrace " (env!("CARGO_PKG_VERSION")) ". Times are UTC." } }
            }
        }
    };
    markup.into_string()
}

/// A section with its heading.
fn section(id: &str, heading: &str, body: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-h" } {
            h2 id={ (id) "-h" } { (heading) }
            (body)
        }
    }
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;
