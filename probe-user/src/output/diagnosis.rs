//! The output of `doctor`, as text.

use std::fmt::Write;

use twtrace_core::doctor::diagnosis::{Diagnosis, DiagnosisFigures};
use twtrace_core::doctor::finding::{Finding, Severity};
use twtrace_core::event::quantity;
use twtrace_core::event::text::escape;

use super::{coverage, what_if, wrap};

/// Maximum width of lines, unless a word is longer.
const WIDTH: usize = 100;

/// Findings, or that there are none; then the figures, and the caveats of the diagnosis.
pub fn render(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    if let Some(warning) = &diagnosis.audit_warning {
        text.push_str(warning);
        text.push_str("\n\n");
    }
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "{} on {} (Linux {}), from {}\n",
        quantity::duration(diagnosis.duration_ns),
        escape(&diagnosis.host),
        escape(&diagnosis.kernel),
        diagnosis.start
    );
    if let Some(history) = &diagnosis.history {
        text.pop();
        text.push_str(&coverage::line(history, diagnosis.end));
        text.push('\n');
    }
    if !diagnosis.findings.is_empty() {
        let _ = writeln!(text, "{}\n", by_severity(&diagnosis.findings));
    }
    for finding in &diagnosis.findings {
        self::finding(&mut text, finding);
        text.push('\n');
    }
    if diagnosis.findings.is_empty() {
        text.push_str("no findings\n");
    }
    figures(&mut text, &diagnosis.figures);
    if !diagnosis.caveats.is_empty() {
        let _ = writeln!(text, "but: {}", escape(&diagnosis.caveats.join("; ")));
    }
    if let Some(answer) = &diagnosis.what_if {
        text.push('\n');
        what_if::append(&mut text, answer);
    }
    text
}

/// Such as `1 critical, 2 warnings, 1 notice`.
fn by_severity(findings: &[Finding]) -> String {
    let severities = [
        (Severity::Critical, "critical", "critical"),
        (Severity::Warning, "warning", "warnings"),
        (Severity::Notice, "notice", "notices"),
    ];
    let counts = severities.iter().filter_map(|(severity, one, several)| {
        let of = findings.iter().filter(|it| it.severity == *severity);
        match of.count() {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {several}")),
        }
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn finding(text: &mut String, finding: &Finding) {
    let _ = writeln!(
        text,
        "{}: {} [{}]",
        finding.severity.word().to_uppercase(),
        escape(&finding.title),
        finding.id
    );
    for (label, sentences) in [
        ("", &finding.evidence),
        ("do", &finding.to_do),
        ("do not", &finding.do_not),
    ] {
        for (index, sentence) in sentences.iter().enumerate() {
            let label = match index {
                0 => label,
                _ => "",
            };
            paragraph(text, label, &escape(sentence));
        }
    }
    paragraph(text, "why", &format!("twtrace explain {}", finding.id));
}

/// A label, with a sentence wrapped in a column beside it.
fn paragraph(text: &mut String, label: &str, sentence: &str) {
    wrap::append(text, &format!("  {label:<8}- "), sentence, WIDTH);
}

fn figures(text: &mut String, figures: &DiagnosisFigures) {
    let of = if figures.counts_all_searches {
        format!(" of {}", figures.searches)
    } else {
        String::new()
    };
    let fixed = match figures.fixed_ports_failed {
        0 => String::new(),
        failed => format!(", {failed} calls for a fixed port failed"),
    };
    let _ = writeln!(
        text,
        "{} TIME_WAIT sockets created, {} RSTs sent and {} received, {}{of} port allocations failed{fixed}, \
         {} connections in CLOSE_WAIT, network namespaces: {}",
        figures.time_waits,
        figures.resets_sent,
        figures.resets_received,
        figures.searches_failed,
        figures.close_wait,
        figures.namespaces
    );
    let _ = match &figures.fullest_in_words {
        Some(fullest) => writeln!(text, "the fullest port pool: {fullest}"),
        None => writeln!(text, "no client holds an ephemeral port"),
    };
}

#[cfg(test)]
mod tests {
    use twtrace_core::doctor::finding::Severity;
    use twtrace_core::event::Timestamp;

    use super::*;
    use serde_json::Value;

    fn diagnosis() -> Diagnosis {
        Diagnosis {
            start: Timestamp(0),
            end: Timestamp(1),
            duration_ns: 10_000_000_000,
            host: "host\x1b".into(),
            kernel: "6.18".into(),
            figures: DiagnosisFigures {
                namespaces: 2,
                time_waits: 12,
                resets_sent: 1,
                resets_received: 0,
                searches: 14,
                searches_failed: 0,
                counts_all_searches: true,
                fixed_ports_failed: 0,
                close_wait: 0,
                fullest_budget: Value::Null,
                fullest_in_words: None,
            },
            audit_off: 0,
            audit_warning: None,
            caveats: vec![],
            findings: vec![],
            what_if: None,
            history: None,
        }
    }

    #[test]
    fn a_healthy_host_gets_its_figures() {
        assert_eq!(
            render(&diagnosis()),
            "10.0s on host\\x1b (Linux 6.18), from 1970-01-01T00:00:00.000000000Z\n\nno findings\n\
             12 TIME_WAIT sockets created, 1 RSTs sent and 0 received, 0 of 14 port allocations failed, \
             0 connections in CLOSE_WAIT, network namespaces: 2\nno client holds an ephemeral port\n"
        );
    }

    #[test]
    fn names_in_findings_do_not_command_the_terminal() {
        let mut diagnosis = diagnosis();
        diagnosis.findings.push(Finding {
            id: "some_id",
            severity: Severity::Warning,
            title: "evil\x1b(7) is wrong".into(),
            evidence: vec!["evil\x1b(7) did it ".repeat(9), "twice".into()],
            figures: Value::Null,
            to_do: vec!["this".into()],
            settings: Vec::new(),
            do_not: vec!["that".into()],
        });
        diagnosis.caveats.push("4 events were lost".into());
        let text = render(&diagnosis);
        assert!(!text.contains('\x1b') && !text.contains("no findings"));
        for part in [
            "\n\n1 warning\n\nWARNING: evil\\x1b(7) is wrong [some_id]\n          - evil\\x1b(7) did it",
            "\n            ",
            "\n          - twice\n  do      - this\n  do not  - that\n  why     - twtrace explain some_id\n\n12 TIME_WAIT sockets",
            "\nbut: 4 events were lost\n",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
        assert!(
            text.lines()
                .all(|line| line.starts_with("12 ") || line.len() <= WIDTH)
        );
    }
}
