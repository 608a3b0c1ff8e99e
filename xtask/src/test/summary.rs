//! The table at the end of a test run.

use std::{fmt::Write, time::Duration};

use super::scenarios::{Counts, Outcome};

/// How a phase ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Without complaint.
    Well,
    /// It failed, for this reason.
    Failed(String),
    /// Scenarios ran, and the runner came to its end.
    Scenarios(Outcome),
}

/// One phase.
#[derive(Clone, Debug)]
pub struct PhaseResult {
    /// Its heading.
    pub name: String,
    /// How long it took, if it came to its end.
    pub took: Option<Duration>,
    /// How it ended.
    pub verdict: Verdict,
}

impl PhaseResult {
    /// Whether nothing failed in it.
    pub fn is_well(&self) -> bool {
        match &self.verdict {
            Verdict::Well => true,
            Verdict::Failed(_) => false,
            Verdict::Scenarios(outcome) => outcome.counts.is_some_and(|counts| counts.failed == 0),
        }
    }
}

/// One line a phase, then every failure and every skip with its reason.
pub fn table(results: &[PhaseResult]) -> String {
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
        let counts = match &result.verdict {
            Verdict::Scenarios(Outcome {
                counts: Some(counts),
                ..
            }) => describe(*counts),
            _ => String::new(),
        };
        let line = format!("{mark}  {:width$}  {time:>7}  {counts}", result.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for result in results {
        match &result.verdict {
            Verdict::Well => {}
            Verdict::Failed(why) => {
                let _ = writeln!(text, "{}: {why}", result.name);
            }
            Verdict::Scenarios(outcome) => {
                for remark in &outcome.remarks {
                    let _ = writeln!(text, "{}: {remark}", result.name);
                }
            }
        }
    }
    text
}

fn describe(counts: Counts) -> String {
    format!(
        "{} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(name: &str, verdict: Verdict) -> PhaseResult {
        PhaseResult {
            name: name.into(),
            took: Some(Duration::from_secs(61)),
            verdict,
        }
    }

    #[test]
    fn the_table_shows_failures_and_skips() {
        let mut outcome = Outcome::default();
        outcome.take("SKIP mptcp: not in this kernel");
        outcome.take("3 passed, 0 failed, 1 skipped");
        let results = [
            phase("fmt", Verdict::Well),
            phase("clippy", Verdict::Failed("cargo failed with 101".into())),
            phase("kernel 5.10 best", Verdict::Scenarios(outcome)),
        ];
        let expected = "\n==== summary ====\n\
            ok      fmt                  61 s\n\
            FAILED  clippy               61 s\n\
            ok      kernel 5.10 best     61 s  3 passed, 0 failed, 1 skipped\n\
            clippy: cargo failed with 101\n\
            kernel 5.10 best: SKIP mptcp: not in this kernel\n";
        assert_eq!(table(&results), expected);
    }

    #[test]
    fn a_run_without_counts_is_no_success() {
        assert!(!phase("x", Verdict::Scenarios(Outcome::default())).is_well());
    }
}
