//! Checks pages against the grammars of both formats, and against their rules for metrics.

use std::collections::{BTreeMap, HashSet};

use super::Format;

/// A sample: its name, its labels and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// The samples of a page; panics if the page violates the format.
pub fn check(page: &str, format: Format) -> Vec<MetricSample> {
    let is_open = format == Format::OpenMetrics;
    let body = if is_open {
        page.strip_suffix("# EOF\n").expect("it ends with # EOF")
    } else {
        page
    };
    assert!(body.ends_with('\n') && !body.contains("# EOF"));
    assert!(!body.contains(|char: char| char.is_control() && char != '\n'));
    let mut families = HashSet::new();
    let mut series = HashSet::new();
    let mut samples: Vec<MetricSample> = Vec::new();
    // Name and type of the current family.
    let mut family = (String::new(), String::new());
    for line in body.split_terminator('\n') {
        if let Some(head) = line.strip_prefix("# ") {
            let (word, rest) = head.split_once(' ').unwrap();
            let (name, text) = rest.split_once(' ').unwrap();
            assert!(!text.is_empty() && is_name(name), "{line}");
            match word {
                "HELP" => {
                    assert!(families.insert(name.to_owned()), "{name} comes twice");
                    family = (name.to_owned(), String::new());
                }
                "TYPE" => {
                    assert_eq!(name, family.0, "{line}");
                    let open = ["counter", "gauge", "histogram", "info"];
                    assert!(
                        open[..if is_open { 4 } else { 3 }].contains(&text),
                        "{line}"
                    );
                    family.1 = text.to_owned();
                }
                "UNIT" => assert!(is_open && name.ends_with(&format!("_{text}")), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let sample = sample(line);
        let suffix = sample
            .name
            .strip_prefix(&family.0)
            .unwrap_or_else(|| panic!("{line}"));
        match family.1.as_str() {
            "counter" if is_open => assert_eq!(suffix, "_total", "{line}"),
            "counter" => assert!(
                suffix.is_empty() && sample.name.ends_with("_total"),
                "{line}"
            ),
            "info" => assert!(suffix == "_info" && sample.value == 1.0, "{line}"),
            "gauge" => assert_eq!(suffix, "", "{line}"),
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            _ => panic!("{line} has no type"),
        }
        if matches!(family.1.as_str(), "counter" | "histogram") {
            assert!(sample.value >= 0.0 && sample.value.is_finite(), "{line}");
        }
        // A label without a value is the same as no label.
        let mut labels = sample.labels.clone();
        labels.retain(|_, value| !value.is_empty());
        assert!(
            series.insert((sample.name.clone(), labels)),
            "{line} comes twice"
        );
        if suffix == "_bucket" {
            check_bucket(&sample, samples.last());
        }
        if suffix == "_count" {
            let last = samples.iter().rev().nth(1).unwrap();
            assert_eq!(
                (last.labels["le"].as_str(), last.value),
                ("+Inf", sample.value),
                "{line}"
            );
        }
        samples.push(sample);
    }
    samples
}

/// Buckets are sorted, and each includes the one before.
fn check_bucket(sample: &MetricSample, before: Option<&MetricSample>) {
    let le = |sample: &MetricSample| number(&sample.labels["le"]);
    let series = |sample: &MetricSample| {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        (sample.name.clone(), labels)
    };
    let Some(before) = before.filter(|before| series(before) == series(sample)) else {
        return;
    };
    assert!(
        le(before) < le(sample) && before.value <= sample.value,
        "{before:?} {sample:?}"
    );
}

fn sample(line: &str) -> MetricSample {
    let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, rest) = line.split_at(name_end);
    assert!(is_name(name), "{line}");
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest),
        None => (BTreeMap::new(), rest),
    };
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    MetricSample {
        name: name.to_owned(),
        labels,
        value: number(value),
    }
}

fn labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(is_name(name) && !name.contains(':'), "{text}");
        let mut value = String::new();
        let mut chars = after.char_indices();
        rest = loop {
            let (at, char) = chars.next().unwrap_or_else(|| panic!("{text}"));
            match char {
                '"' => break &after[at + 1..],
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, char @ ('\\' | '"'))) => value.push(char),
                    _ => panic!("{text}"),
                },
                char => value.push(char),
            }
        };
        assert_eq!(labels.insert(name.to_owned(), value), None, "{text}");
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", after) => return (labels, after),
            _ => panic!("{text}"),
        }
    }
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        text => {
            let is_number = |byte| matches!(byte, b'0'..=b'9' | b'.' | b'-');
            assert!(text.bytes().all(is_number), "{text}");
            text.parse().unwrap_or_else(|_| panic!("{text}"))
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    name.chars().all(is_word) && name.starts_with(|char: char| char.is_ascii_alphabetic())
}
