//! The end of a test run: a table of the phases, the errors, the slowest scenarios, and the counts of all scenarios.

use std::{fmt::Write, time::Duration};

use super::{
    result::{PhaseResult, PhaseVerdict},
    scenarios::ScenarioCounts,
};

/// Number of slowest scenarios that are listed.
const SLOWEST: usize = 10;

/// The printed text. The last line has the counts, for CI systems that read one.
pub fn text(results: &[PhaseResult], whole: Duration) -> String {
    let mut text = String::from("\n==== summary ====\n");
    let width = results
        .iter()
        .map(|result| result.name.len())
        .max()
        .unwrap_or(0);
    for result in results {
        let mark = if result.is_well() { "ok    " } else { "FAILED" };
        let time = result
            .took
            .map_or_else(String::new, |took| format!("{} s", took.as_secs()));
        let line = format!(
            "{mark}  {:width$}  {time:>7}  {}",
            result.name,
            numbers(result)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str(&remarks(results, peculiarities));
    text.push_str(&slowest(results));
    text.push_str(&building(results, whole));
    // Last, so that they are seen: also by tools that show only the end of a long output.
    text.push_str(&remarks(results, unsteady));
    text.push_str(&remarks(results, failures));
    let sum = results
        .iter()
        .filter_map(PhaseResult::counts)
        .fold(ScenarioCounts::default(), ScenarioCounts::and);
    let _ = writeln!(text, "{}", describe(sum));
    text
}

fn numbers(result: &PhaseResult) -> String {
    match &result.verdict {
        PhaseVerdict::Well | PhaseVerdict::Failed(_) => String::new(),
        PhaseVerdict::Tests(tests) => {
            format!("{} passed, {} left out", tests.passed, tests.left_out)
        }
        PhaseVerdict::Scenarios(outcome) => {
            let mut text = outcome.counts.map_or_else(String::new, describe);
            if !outcome.repeats.is_empty() {
                let _ = write!(text, ", {} repeated", outcome.repeats.len());
            }
            if !outcome.unsteady.is_empty() {
                let _ = write!(text, ", {} UNSTEADY", outcome.unsteady.len());
            }
            text
        }
    }
}

fn describe(counts: ScenarioCounts) -> String {
    format!(
        "{} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    )
}

/// Remarks on each phase, as lines.
fn remarks(results: &[PhaseResult], of: impl Fn(&PhaseResult) -> Vec<String>) -> String {
    let mut text = String::new();
    for result in results {
        for remark in of(result) {
            let _ = writeln!(text, "{}: {remark}", result.name);
        }
    }
    text
}

/// What was skipped and what was repeated: none of it is an error.
fn peculiarities(result: &PhaseResult) -> Vec<String> {
    let PhaseVerdict::Scenarios(outcome) = &result.verdict else {
        return Vec::new();
    };
    let skips = outcome.skips.iter();
    let skips = skips.map(|skip| format!("SKIP {}: {}", skip.scenario, skip.reason));
    skips.chain(outcome.repeats.iter().cloned()).collect()
}

/// What failed once, and should be investigated.
fn unsteady(result: &PhaseResult) -> Vec<String> {
    match &result.verdict {
        PhaseVerdict::Scenarios(outcome) => outcome.unsteady.clone(),
        _ => Vec::new(),
    }
}

/// Errors of a phase.
fn failures(result: &PhaseResult) -> Vec<String> {
    let mut failures = match &result.verdict {
        PhaseVerdict::Well | PhaseVerdict::Tests(_) => Vec::new(),
        PhaseVerdict::Failed(why) => vec![why.clone()],
        PhaseVerdict::Scenarios(outcome) => outcome.failures.clone(),
    };
    failures.extend(result.faults.iter().map(|fault| format!("FAIL {fault}")));
    failures
}

fn slowest(results: &[PhaseResult]) -> String {
    let mut all: Vec<(Duration, &str, &str)> = Vec::new();
    for result in results {
        if let PhaseVerdict::Scenarios(outcome) = &result.verdict {
            let times = outcome.times.iter();
            all.extend(times.map(|(name, took)| (*took, result.name.as_str(), name.as_str())));
        }
    }
    all.sort_by_key(|(took, ..)| std::cmp::Reverse(*took));
    all.truncate(SLOWEST);
    let mut text = String::new();
    if !all.is_empty() {
        let _ = writeln!(text, "slowest scenarios:");
    }
    for (took, phase, name) in all {
        let _ = writeln!(text, "{:>7.1} s  {name} ({phase})", took.as_secs_f64());
    }
    text
}

/// Building may run in parallel with other phases: the share of the total is the time during which anything was built.
fn building(results: &[PhaseResult], whole: Duration) -> String {
    let built: Duration = results
        .iter()
        .filter(|result| result.is_building)
        .filter_map(|result| result.took)
        .sum();
    format!("building took {} of {}\n", minutes(built), minutes(whole))
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::result::tests::outcome;

    fn phase(name: &str, verdict: PhaseVerdict) -> PhaseResult {
        PhaseResult::new(name, Duration::from_secs(61), verdict)
    }

    #[test]
    fn failures_skips_repeats_and_times_are_shown() {
        let old = outcome(&[
            "ok   a/v4 (1.0 s)",
            "ok   b/v4 (61.5 s)",
            "AGAIN b/v4: a race",
            "SKIP mptcp: not in this kernel",
            "2 passed, 0 failed, 1 skipped",
        ]);
        let machine = outcome(&[
            "ok   a/v4 (0.5 s)",
            "FAIL c: x",
            "1 passed, 1 failed, 0 skipped",
        ]);
        let results = [
            phase("fmt", PhaseVerdict::Well),
            PhaseResult {
                is_building: true,
                ..phase(
                    "clippy",
                    PhaseVerdict::Failed("cargo failed with 101".into()),
                )
            },
            phase("this machine best", PhaseVerdict::Scenarios(machine)),
            PhaseResult {
                faults: vec!["too few".to_owned()],
                ..phase("kernel 5.10 best", PhaseVerdict::Scenarios(old))
            },
        ];
        let expected = "\n==== summary ====\n\
            ok      fmt                   61 s\n\
            FAILED  clippy                61 s\n\
            FAILED  this machine best     61 s  1 passed, 1 failed, 0 skipped\n\
            FAILED  kernel 5.10 best      61 s  2 passed, 0 failed, 1 skipped, 1 repeated\n\
            kernel 5.10 best: SKIP mptcp: not in this kernel\n\
            kernel 5.10 best: AGAIN b/v4: a race\n\
            slowest scenarios:\n   \
            61.5 s  b/v4 (kernel 5.10 best)\n    \
            1.0 s  a/v4 (kernel 5.10 best)\n    \
            0.5 s  a/v4 (this machine best)\n\
            building took 1 min 01 s of 5 min 00 s\n\
            clippy: cargo failed with 101\n\
            this machine best: FAIL c: x\n\
            kernel 5.10 best: FAIL too few\n\
            3 passed, 1 failed, 1 skipped\n";
        assert_eq!(text(&results, Duration::from_secs(300)), expected);
    }

    #[test]
    fn the_last_line_is_the_sum_even_of_nothing() {
        let text = text(&[phase("fmt", PhaseVerdict::Well)], Duration::ZERO);
        assert!(
            text.ends_with("\n0 passed, 0 failed, 0 skipped\n"),
            "{text}"
        );
    }
}
