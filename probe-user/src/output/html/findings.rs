//! The findings of `doctor`: evidence, what to do, what not to do.

use maud::{Markup, html};
use twtrace_core::doctor::finding::Finding;

use super::text::shown;
use super::{HtmlPage, section};

/// One card per finding, the worst first; or that there is none.
pub fn render(page: &HtmlPage) -> Markup {
    let body = html! {
        @if page.findings.is_empty() {
            p.good { span aria-hidden="true" { "✓ " } "Nothing wrong was found." }
        }
        @for finding in page.findings { (card(finding)) }
        @if !page.caveats.is_empty() {
            div.caveats {
                p { "This judgement is weakened by:" }
                ul { @for caveat in page.caveats { li { (shown(caveat)) } } }
            }
        }
    };
    section("findings", "Findings", &body)
}

fn card(finding: &Finding) -> Markup {
    html! {
        article class={ "finding " (finding.severity.word()) } {
            h3 {
                span.severity { (finding.severity.word().to_uppercase()) } " "
                (shown(&finding.title)) " "
                code { (finding.id) }
            }
            ul.evidence { @for sentence in &finding.evidence { li { (shown(sentence)) } } }
            div.advice {
                (list("Do", "do", &finding.to_do))
                (list("Do not", "do-not", &finding.do_not))
            }
            p { "Why: " code { "twtrace explain " (finding.id) } }
        }
    }
}

fn list(heading: &str, class: &str, sentences: &[String]) -> Markup {
    html! {
        @if !sentences.is_empty() {
            div class=(class) {
                h4 { (heading) }
                ul { @for sentence in sentences { li { (shown(sentence)) } } }
            }
        }
    }
}
