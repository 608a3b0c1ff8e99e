use twtrace_core::doctor::finding::Severity;
use twtrace_core::doctor::{diagnosis::Diagnosis, samples as facts};
use twtrace_core::event::{LostBy, Timestamp, samples};
use twtrace_core::filter::Filter;
use twtrace_core::model::report::{LostRow, ProcessRow};

use super::*;

/// Names that a browser or a reader could take for something else.
const HOSTILE: [&str; 5] = [
    "</td><script>",
    "<img src=x oner",
    "\"' onload=x &amp",
    "a\u{202e}b\x1b[2J\n",
    "]]>--></style>",
];

fn page_of(change: impl FnOnce(&mut Report, &mut Timeline, &mut Vec<Finding>)) -> String {
    let facts = facts::healthy();
    let mut report = facts.report.clone();
    let diagnosis = Diagnosis::new(&facts, &Filter::default());
    let mut findings = diagnosis.findings;
    let mut timeline = Timeline::new(0, Timestamp(0));
    change(&mut report, &mut timeline, &mut findings);
    render(&HtmlPage {
        report: &report,
        timeline: &timeline,
        findings: &findings,
        caveats: &diagnosis.caveats,
    })
}

fn finding(text: &str) -> Finding {
    Finding {
        id: "some_id",
        severity: Severity::Critical,
        title: text.into(),
        evidence: vec![text.into()],
        figures: serde_json::Value::Null,
        to_do: vec![text.into()],
        settings: Vec::new(),
        do_not: vec![text.into()],
    }
}

#[test]
fn a_quiet_host_has_a_page_that_says_so() {
    let page = page_of(|_, _, _| {});
    for part in [
        "<!DOCTYPE html>",
        "default-src 'none'",
        "<h1>host</h1>",
        "Linux 6.18",
        "Nothing wrong was found.",
        "Lost: nothing",
        "None of these happened",
        "10 % used: 900 of 1\u{202f}000 ports free",
    ] {
        assert!(page.contains(part), "{part}\nis not in\n{page}");
    }
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = page_of(|_, _, findings| findings.push(finding("x")));
    for part in ["<script", "http://", "https://", "url(", "@import", " src="] {
        assert!(!page.contains(part), "{part}");
    }
}

/// Names of all elements, without attributes.
fn elements(page: &str) -> Vec<&str> {
    page.split('<')
        .skip(1)
        .map(|rest| rest.split([' ', '>', '\n']).next().unwrap_or_default())
        .collect()
}

#[test]
fn strangers_add_no_element_and_hide_no_text() {
    let with = |name: &str| {
        page_of(|report, _, findings| {
            report.host = name.into();
            report.kernel = name.into();
            let process = samples::process(7, name);
            let mut row = ProcessRow::new(Some(process.clone()), process.key);
            row.counts.add(&samples::time_wait());
            report.processes.push(row);
            report
                .budgets_unknown
                .push(twtrace_core::model::report::UnscannedRow {
                    netns: 1,
                    why: name.into(),
                });
            report.budgets[0].capacity = None;
            report.budgets[0].why = Some(name.to_owned().into());
            findings.push(finding(name));
        })
    };
    let harmless = with("harmless");
    for name in HOSTILE {
        let page = with(name);
        assert_eq!(elements(&page), elements(&harmless), "{name}");
        assert!(!page.contains('\u{202e}') && !page.contains('\x1b'));
    }
    assert!(with(HOSTILE[0]).contains("&lt;/td&gt;&lt;script&gt;(7)"));
}

#[test]
fn what_was_lost_stands_at_the_top_and_at_the_end() {
    let page = page_of(|report, _, _| {
        report.lost.push(LostRow {
            probe: LostBy::Decode,
            count: 1_234,
        });
        report.exact.processes = false;
    });
    assert!(page.contains("Lost: 1\u{202f}234; figures marked ≥ are lower bounds"));
    assert!(page.contains("records that could not be read"));
    assert!(page.contains("<strong>≥0</strong>"));
}

#[test]
fn the_timeline_is_told_in_words_too() {
    let page = page_of(|_, timeline, _| {
        let mut event = samples::time_wait();
        for mono_ns in [0, 2_000_000_000, 2_050_000_000] {
            event.mono_ns = mono_ns;
            timeline.apply(&event);
        }
    });
    let words = "TIME_WAIT as client: 3 in all; the most in 100ms: 2, at 00:00:02";
    assert!(page.contains(&format!("aria-label=\"{words}\"")), "{page}");
    assert!(page.contains("None: TIME_WAIT as server,"), "{page}");
}

#[test]
fn where_timeline_and_sums_differ_the_page_says_by_how_much_and_why() {
    let page_with = |in_events: usize, lost: u64, is_exact: bool| {
        page_of(|report, timeline, _| {
            let process = samples::process(7, "curl");
            let mut row = ProcessRow::new(Some(process.clone()), process.key);
            (0..2).for_each(|_| row.counts.add(&samples::reset()));
            report.processes = vec![row];
            report.exact.processes = is_exact;
            report.lost = vec![LostRow {
                probe: LostBy::Probe(twtrace_wire::Probe::Reset),
                count: lost,
            }];
            (0..in_events).for_each(|_| timeline.apply(&samples::reset()));
        })
    };
    assert!(!page_with(2, 0, true).contains("Other than the sums"));
    for (page, words) in [
        (
            page_with(1, 1, true),
            "RST sent: 1 in events, 2 in the sums (1 less). That is because 1 events were lost, and the sums have them.",
        ),
        (
            page_with(3, 0, false),
            "RST sent: 3 in events, 2 in the sums (1 more). That is because the sums marked ≥ are lower bounds",
        ),
        (
            page_with(0, 0, true),
            "RST sent: 0 in events, 2 in the sums (2 less). That is because the sums are read from the kernel at the end",
        ),
    ] {
        assert!(page.contains(words), "{words}\nis not in\n{page}");
    }
}
