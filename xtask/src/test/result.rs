//! Results of phases.

use std::time::Duration;

use super::{
    scenarios::{RunnerOutput, ScenarioCounts},
    units::TestCounts,
};

/// Result of a phase's work.
#[derive(Clone, Debug)]
pub enum PhaseVerdict {
    /// Without errors.
    Well,
    /// It failed, for this reason.
    Failed(String),
    /// Scenarios ran, and the runner finished.
    Scenarios(RunnerOutput),
    /// Unit tests ran, and none failed.
    Tests(TestCounts),
}

/// How to compare the numbers of a phase with those in `tests/expected.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Not at all: the phase was not run in full, or has no numbers.
    Any,
    /// They must be equal.
    Same,
    /// The sums must be equal, but others may be skipped: it is another kernel than the one they were counted on.
    SameSum,
    /// At least as many.
    AtLeast,
}

/// Result of one phase.
#[derive(Clone, Debug)]
pub struct PhaseResult {
    /// Its heading.
    pub name: String,
    /// Its duration, if it finished.
    pub took: Option<Duration>,
    pub verdict: PhaseVerdict,
    /// How its numbers are compared.
    pub numbers: Numbers,
    /// Whether it only compiled.
    pub is_building: bool,
    /// Errors although its work succeeded.
    pub faults: Vec<String>,
}

impl PhaseResult {
    /// A result without numbers.
    pub fn new(name: &str, took: Duration, verdict: PhaseVerdict) -> Self {
        Self {
            name: name.to_owned(),
            took: Some(took),
            verdict,
            numbers: Numbers::Any,
            is_building: false,
            faults: Vec::new(),
        }
    }

    /// A phase that failed before it began.
    pub fn not_run(name: &str, why: &str) -> Self {
        Self {
            took: None,
            ..Self::new(
                name,
                Duration::ZERO,
                PhaseVerdict::Failed(format!("not run: {why}")),
            )
        }
    }

    /// Whether its work succeeded, whatever its numbers are.
    pub fn has_worked(&self) -> bool {
        match &self.verdict {
            PhaseVerdict::Well | PhaseVerdict::Tests(_) => true,
            PhaseVerdict::Failed(_) => false,
            PhaseVerdict::Scenarios(outcome) => {
                outcome.counts.is_some_and(|counts| counts.failed == 0)
            }
        }
    }

    /// Whether it has no errors.
    pub fn is_well(&self) -> bool {
        self.has_worked() && self.faults.is_empty()
    }

    /// The counts of its scenarios, if it has any.
    pub fn counts(&self) -> Option<ScenarioCounts> {
        match &self.verdict {
            PhaseVerdict::Scenarios(outcome) => outcome.counts,
            _ => None,
        }
    }
}

/// Counts are accepted only with the matching exit code, and with as many skips as were named. It is no failure here if
/// nothing passed: with `--only` that is possible in some phases.
pub fn judge(outcome: RunnerOutput, exit: Option<i32>) -> PhaseVerdict {
    let Some(code) = exit else {
        return PhaseVerdict::Failed(format!(
            "the scenario runner did not end, and {}",
            said(&outcome)
        ));
    };
    match outcome.counts {
        Some(counts) if (code == 0) != counts.is_success() => {}
        Some(counts) if counts.skipped as usize != outcome.skips.len() => {
            return PhaseVerdict::Failed(format!(
                "the scenario runner counted {} skips and named {}",
                counts.skipped,
                outcome.skips.len()
            ));
        }
        Some(_) => return PhaseVerdict::Scenarios(outcome),
        None => {}
    }
    PhaseVerdict::Failed(format!(
        "the scenario runner exited with {code} and {}",
        said(&outcome)
    ))
}

fn said(outcome: &RunnerOutput) -> String {
    match (outcome.counts, outcome.failures.as_slice()) {
        (Some(counts), _) => format!(
            "counted {} passes and {} failures",
            counts.passed, counts.failed
        ),
        (None, []) => "printed no counts".to_owned(),
        (None, some) => format!("printed no counts, but {}", some.join("; ")),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The outcome of these lines of output.
    pub fn outcome(lines: &[&str]) -> RunnerOutput {
        let mut outcome = RunnerOutput::default();
        for line in lines {
            outcome.take(line);
        }
        outcome
    }

    #[test]
    fn counts_need_their_exit_code() {
        let well = outcome(&["2 passed, 0 failed, 0 skipped"]);
        let ill = outcome(&["1 passed, 1 failed, 0 skipped"]);
        assert!(matches!(
            judge(well.clone(), Some(0)),
            PhaseVerdict::Scenarios(_)
        ));
        assert!(matches!(judge(ill, Some(1)), PhaseVerdict::Scenarios(_)));
        assert!(matches!(
            judge(well.clone(), Some(101)),
            PhaseVerdict::Failed(_)
        ));
        assert!(matches!(judge(well, None), PhaseVerdict::Failed(_)));
        let none = outcome(&["0 passed, 0 failed, 0 skipped"]);
        assert!(matches!(
            judge(none.clone(), Some(1)),
            PhaseVerdict::Scenarios(_)
        ));
        assert!(matches!(judge(none, Some(0)), PhaseVerdict::Failed(_)));
        assert!(matches!(
            judge(RunnerOutput::default(), Some(0)),
            PhaseVerdict::Failed(_)
        ));
    }

    #[test]
    fn skips_need_their_names() {
        let unnamed = outcome(&["2 passed, 0 failed, 1 skipped"]);
        assert!(matches!(judge(unnamed, Some(0)), PhaseVerdict::Failed(_)));
        let named = outcome(&["SKIP a: b", "2 passed, 0 failed, 1 skipped"]);
        assert!(matches!(judge(named, Some(0)), PhaseVerdict::Scenarios(_)));
    }

    #[test]
    fn a_run_without_counts_is_no_success() {
        let verdict = PhaseVerdict::Scenarios(RunnerOutput::default());
        assert!(!PhaseResult::new("x", Duration::ZERO, verdict).is_well());
        assert!(!PhaseResult::not_run("x", "y").is_well());
    }
}
