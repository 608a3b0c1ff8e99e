//! Checks that files deployed with twtrace, and its documentation, name only existing metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::families::{self, MetricFamily, MetricKind};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of samples.
fn known() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for family in families::ALL {
        match family.kind {
            MetricKind::Histogram => {
                let parts = ["_bucket", "_sum", "_count"].iter();
                names.extend(parts.map(|part| format!("{}{part}", family.name)));
            }
            MetricKind::Counter | MetricKind::Gauge | MetricKind::Info => {
                names.insert(family.sample_name());
            }
        }
    }
    names
}

/// Words that look like the name of a metric, or of a recording rule, which contains colons.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | ':');
    text.split(|char| !is_part(char))
        .map(|word| word.trim_matches(':'))
        .filter(|word| {
            word.contains("twtrace_")
                || word.starts_with("process_") && word.matches('_').count() > 1
        })
        .collect()
}

#[test]
fn rules_and_dashboards_name_only_metrics_that_there_are() {
    let rules = text("deploy/prometheus/twtrace.rules.yml");
    let recorded: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .collect();
    let known = known();
    for path in [
        "deploy/prometheus/twtrace.rules.yml",
        "deploy/prometheus/tests/twtrace.test.yml",
        "deploy/grafana/twtrace.json",
        "docs/metrics.md",
    ] {
        let text = text(path);
        let names = names(&text);
        assert!(names.len() > 5, "{path}: {names:?}");
        for name in names {
            // A histogram has no samples with its own name, but a description.
            let mut families = families::ALL.iter();
            let is_described = path.ends_with(".md") && families.any(|family| family.name == name);
            let is_known = known.contains(name) || recorded.contains(name) || is_described;
            assert!(is_known, "{path} names {name}, which there is not");
        }
    }
}

#[test]
fn each_metric_and_each_alert_is_documented() {
    let page = text("docs/metrics.md");
    for family in families::ALL {
        let row = row(family);
        assert!(page.contains(&row), "docs/metrics.md lacks\n{row}");
    }
    let rules = text("deploy/prometheus/twtrace.rules.yml");
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        assert!(
            page.contains(&format!("`{alert}`")),
            "docs/metrics.md lacks {alert}"
        );
    }
}

/// GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = |char: &char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_');
    let text: String = heading.to_lowercase().chars().filter(kept).collect();
    text.replace(' ', "-")
}

#[test]
fn each_alert_leads_to_a_section_of_the_documentation() {
    let rules = text("deploy/prometheus/twtrace.rules.yml");
    let base = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
    let mut alerts = rules.split("- alert: ");
    alerts.next();
    for alert in alerts {
        let mut lines = alert.lines();
        let name = lines.next().unwrap();
        let urls: Vec<&str> = lines
            .filter_map(|line| line.trim().strip_prefix("runbook_url: "))
            .collect();
        let [url] = urls[..] else {
            panic!("{name} has {} of runbook_url", urls.len());
        };
        let place = url.strip_prefix(base).unwrap_or_else(|| panic!("{url}"));
        let (path, section) = place.split_once('#').unwrap_or_else(|| panic!("{url}"));
        let page = text(path);
        let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
        assert!(
            headings.map(anchor).any(|anchor| anchor == section),
            "{name}: {path} has no section #{section}"
        );
    }
}

/// A dashboard that Grafana accepts: each panel has a place, a title and queries.
#[test]
fn the_dashboard_is_whole() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&text("deploy/grafana/twtrace.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 10);
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty());
        let of = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in of("x")..of("x") + of("w") {
            for y in of("y")..of("y") + of("h") {
                assert!(
                    x < 24 && cells.insert((x, y)),
                    "{} overlaps",
                    panel["title"]
                );
            }
        }
        if panel["type"] != "row" {
            for target in panel["targets"].as_array().unwrap() {
                assert!(
                    !names(target["expr"].as_str().unwrap()).is_empty(),
                    "{target}"
                );
            }
        }
    }
}

/// A row of the table in `docs/metrics.md`.
fn row(family: &MetricFamily) -> String {
    let kind = match family.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::Info => "info",
    };
    let of_process = families::PROCESS;
    let (process, own) = match family.labels.strip_prefix(&of_process) {
        Some(own) => (Some("*process*".to_owned()), own),
        None => (None, family.labels),
    };
    let own = own.iter().map(|label| format!("`{label}`"));
    let labels: Vec<String> = process.into_iter().chain(own).collect();
    let name = family.sample_name();
    format!(
        "| `{name}` | {kind} | {} | {} |",
        labels.join(", "),
        family.help
    )
}
