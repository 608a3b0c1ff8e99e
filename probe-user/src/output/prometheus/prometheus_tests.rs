use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use twtrace_core::doctor::finding::{FindingCounts, Severity};
use twtrace_core::event::{Timestamp, samples};
use twtrace_core::model::series::SeriesLimits;

use super::grammar::{MetricSample, check};
use super::samples::{series, taken, tracing_start};
use super::*;
use crate::store::Status;

fn state(own: Own) -> ServeState {
    ServeState {
        config_reload: Some((true, Timestamp(1_700_000_100_250_000_000))),
        history: Some(Status {
            writes: 4,
            failures: 1,
            dropped: 2,
            is_failing: true,
            size_bytes: 8_192,
            oldest: Some(Timestamp(1_699_999_980_000_000_000)),
        }),
        findings: Some(FindingCounts {
            at: Timestamp(1_700_000_090_000_000_000),
            counts: [
                (("budget_full", Severity::Critical), 2),
                (("linger_on_client", Severity::Notice), 1),
            ]
            .into(),
        }),
        scrapes: 6,
        own: Some(own),
    }
}

fn page(format: Format) -> String {
    let own = Own {
        resident_bytes: Some(20_971_520),
        cpu_s: Some(1.25),
        started_s: Some(1_699_999_999.5),
        open_fds: Some(42),
    };
    let page = render(&series(), &state(own), format);
    String::from_utf8(page.to_vec()).unwrap()
}

fn values(samples: &[MetricSample], name: &str) -> Vec<(Vec<(String, String)>, f64)> {
    let named = samples.iter().filter(|sample| sample.name == name);
    named
        .map(|sample| (sample.labels.clone().into_iter().collect(), sample.value))
        .collect()
}

#[test]
fn pages_are_as_both_grammars_say() {
    let text = check(&page(Format::Text), Format::Text);
    let open = check(&page(Format::OpenMetrics), Format::OpenMetrics);
    assert_eq!(text, open);
}

/// The golden page as OpenMetrics: the heads of families have no suffix, the type info, and units.
fn open_metrics(golden: &str) -> String {
    let mut open = String::new();
    for line in golden.lines() {
        let head = line.strip_prefix("# ").map(|head| {
            let words: Vec<&str> = head.splitn(3, ' ').collect();
            let mut families = families::ALL.iter();
            let family = families.find(|family| family.sample_name() == words[1]);
            (words[0], family.unwrap(), words[2])
        });
        let is_info = |family: &families::MetricFamily| family.kind == families::MetricKind::Info;
        open += &match head {
            Some(("TYPE", family, _)) if is_info(family) => format!("# TYPE {} info", family.name),
            Some((word, family, text)) => format!("# {word} {} {text}", family.name),
            None => line.to_owned(),
        };
        open.push('\n');
        if let Some(("TYPE", family, _)) = head
            && let Some(unit) = family.unit
        {
            open += &format!("# UNIT {} {unit}\n", family.name);
        }
    }
    open + "# EOF\n"
}

/// Users see a change of these.
#[test]
fn pages_read_as_they_did() {
    let golden = include_str!("golden.txt");
    for (format, golden) in [
        (Format::Text, golden.to_owned()),
        (Format::OpenMetrics, open_metrics(golden)),
    ] {
        let page = page(format).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        if page != golden {
            let path = std::env::temp_dir().join(format!("twtrace-golden-{format:?}"));
            std::fs::write(&path, &page).unwrap();
            panic!("it differs from the golden page: see {}", path.display());
        }
    }
}

/// The page has everything that the list of families contains, and no other label.
#[test]
fn every_family_has_samples_with_its_labels() {
    let samples = check(&page(Format::Text), Format::Text);
    for family in families::ALL {
        let name = family.sample_name();
        let own: Vec<&MetricSample> = samples
            .iter()
            .filter(|sample| sample.name == name || sample.name == format!("{name}_count"))
            .collect();
        assert!(!own.is_empty(), "{name} has no sample");
        for label in own.iter().flat_map(|sample| sample.labels.keys()) {
            assert!(
                family.labels.contains(&label.as_str()),
                "{name} has a {label}"
            );
        }
    }
}

#[test]
fn names_of_strangers_stay_within_their_label() {
    let samples = check(&page(Format::Text), Format::Text);
    let time_waits = values(&samples, "twtrace_process_time_waits_total");
    let names: BTreeSet<&str> = time_waits
        .iter()
        .flat_map(|(labels, _)| labels)
        .filter(|(label, _)| label == "process")
        .map(|(_, name)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["curl", "other", "we\"ird\\\u{fffd}\u{fffd}[31m"].into()
    );
}

#[test]
fn what_processes_did_sums_up_to_the_whole() {
    let samples = check(&page(Format::Text), Format::Text);
    for (by_process, whole) in [
        (
            "twtrace_process_time_waits_total",
            "twtrace_time_waits_total",
        ),
        ("twtrace_process_resets_total", "twtrace_resets_total"),
        (
            "twtrace_process_time_waits_refused_total",
            "twtrace_time_waits_refused_total",
        ),
        (
            "twtrace_process_port_failures_total",
            "twtrace_port_failures_total",
        ),
        (
            "twtrace_process_port_search_duration_seconds_count",
            "twtrace_port_search_duration_seconds_count",
        ),
        (
            "twtrace_pair_time_waits_total",
            "twtrace_destination_time_waits_total",
        ),
        (
            "twtrace_pair_resets_total",
            "twtrace_destination_resets_total",
        ),
        (
            "twtrace_pair_aborts_total",
            "twtrace_destination_aborts_total",
        ),
        (
            "twtrace_pair_port_failures_total",
            "twtrace_destination_port_failures_total",
        ),
    ] {
        let sum = |name| {
            values(&samples, name)
                .iter()
                .map(|(_, value)| value)
                .sum::<f64>()
        };
        assert!(sum(whole) > 0.0, "{whole}");
        assert_eq!(sum(by_process), sum(whole), "{whole}");
    }
}

/// A process may have the name that stands for the others.
#[test]
fn a_process_called_other_is_told_from_the_others() {
    let limits = SeriesLimits {
        max_processes: 1,
        max_destinations: 1,
    };
    let mut series = Series::new(&tracing_start(), limits);
    series.add_totals(&taken(samples::process(1, "other")));
    series.add_totals(&taken(samples::process(2, "more")));
    let page = render(&series, &ServeState::default(), Format::Text);
    check(str::from_utf8(&page).unwrap(), Format::Text);
}

/// Runs if it is installed: it checks more conventions than our tests.
#[test]
fn promtool_finds_nothing() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return;
    };
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(page(Format::Text).as_bytes()).unwrap();
    drop(stdin);
    let said = promtool.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && text.is_empty(), "{text}");
}

proptest! {
    #[test]
    fn whatever_names_are_the_page_is_one(
        names in prop::collection::vec(prop::collection::vec(1_u8.., 0..16), 1..20),
        units in prop::collection::vec("/\\PC{0,9}[\"\\\\\n\t]{0,2}\\.service", 1..4),
    ) {
        let limits = SeriesLimits { max_processes: 5, max_destinations: 5 };
        let mut series = Series::new(&tracing_start(), limits);
        for (number, name) in (1_u32..).zip(&names) {
            let mut process = samples::process(number, "");
            process.comm = twtrace_core::event::comm::Comm::from_bytes(name);
            let path = units[number as usize % units.len()].clone();
            process.details = Some(std::sync::Arc::new(twtrace_core::event::process::ProcessDetails {
                cgroup: Some(twtrace_core::event::place::Place::from_path(path)),
                ..Default::default()
            }));
            series.add_totals(&taken(process));
            if number % 7 == 0 {
                series.rotate();
            }
        }
        for format in Format::ALL {
            let page = render(&series, &ServeState::default(), format);
            check(str::from_utf8(&page).unwrap(), format);
        }
    }
}
