//! How phases end.

use std::time::Duration;

use super::{
    scenarios::{RunnerOutput, ScenarioCounts},
    units::TestCounts,
};

/// How the work of a phase ended.
#[derive(Clone, Debug)]
pub enum PhaseVerdict {
    /// Without complaint.
    Well,
    /// It failed, for this reason.
    Failed(String),
    /// Scenarios ran, and the runner came to its end.
    Scenarios(RunnerOutput),
    /// Unit tests ran, and none failed.
    Tests(TestCounts),
}

/// How the numbers of a phase compare with those in `tests/expected.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Not at all: the phase was not run in full, or has none.
    Any,
    /// They are the same.
    Same,
    /// As many are played, but others may be skipped: it is another kernel than the one they were counted on.
    SameSum,
    /// At least so many.
    AtLeast,
}

/// One phase.
#[derive(Clone, Debug)]
pub struct PhaseResult {
    /// Its heading.
    pub name: String,
    /// How long it took, if it came to its end.
    pub took: Option<Duration>,
    /// How its work ended.
    pub verdict: PhaseVerdict,
    /// What its numbers must be.
    pub numbers: Numbers,
    /// Whether it only compiled.
    pub is_building: bool,
    /// What makes it a failure although its work went well.
    pub faults: Vec<String>,
}

impl PhaseResult {
    /// One that is judged by its work alone.
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

    /// One that failed before it began.
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

    /// Whether its work ended well, whatever its numbers are.
    pub fn has_worked(&self) -> bool {
        match &self.verdict {
            PhaseVerdict::Well | PhaseVerdict::Tests(_) => true,
            PhaseVerdict::Failed(_) => false,
            PhaseVerdict::Scenarios(outcome) => {
                outcome.counts.is_some_and(|counts| counts.failed == 0)
            }
        }
    }

    /// Whether nothing is wrong with it.
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

/// Counts are believed only with the exit code that goes with them, and with as many skips as were named. That nothing
/// passed is no failure here: with `--only` it may be so in some phases.
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

    /// What comes of these lines of output.
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
