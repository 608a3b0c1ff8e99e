//! Parses the output of the scenario runner: `ok   NAME (1.2 s)`, `SKIP NAME: reason`, `FAIL NAME: what`, `AGAIN NAME:
//! reason`, and the line of counts at the end.

use std::time::Duration;

/// The tiers in which scenarios run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierLimit {
    /// The best hooks that the kernel allows.
    Best,
    /// Without fentry and fexit: kprobes.
    NoFentry,
    /// Also without kprobes.
    Tracepoints,
    /// Without raw tracepoints and anything better: classic ones.
    Classic,
    /// Also without timer tracepoints: TIME_WAITs inferred from states.
    Inferred,
}

impl TierLimit {
    /// The word for the runner's `--tier`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::NoFentry => "no-fentry",
            Self::Tracepoints => "tracepoints",
            Self::Classic => "classic",
            Self::Inferred => "inferred",
        }
    }
}

/// The counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScenarioCounts {
    /// Scenarios that passed.
    pub passed: u32,
    /// Scenarios that failed.
    pub failed: u32,
    /// Scenarios that this kernel, tier or machine can't run.
    pub skipped: u32,
}

impl ScenarioCounts {
    /// Whether the runner ends successfully: something passed, and nothing failed.
    pub fn is_success(self) -> bool {
        self.passed > 0 && self.failed == 0
    }

    /// The sum of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// A scenario that was not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedScenario {
    pub scenario: String,
    /// Why it was not run.
    pub reason: String,
}

/// Parsed output of one run of the runner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunnerOutput {
    /// From the last line; `None` if the runner did not finish.
    pub counts: Option<ScenarioCounts>,
    /// Names of the scenarios that passed, with the time each took.
    pub times: Vec<(String, Duration)>,
    /// Failures, as printed.
    pub failures: Vec<String>,
    /// Scenarios that were not run.
    pub skips: Vec<SkippedScenario>,
    /// Scenarios that were run again because of a race of the kernel: one line each time, as printed.
    pub repeats: Vec<String>,
    /// Scenarios that failed once and then passed every time: one line each. They count as passed.
    pub unsteady: Vec<String>,
}

impl RunnerOutput {
    /// Takes one line of output.
    pub fn take(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("ok ") {
            self.times.extend(parse_time(rest));
        } else if let Some(rest) = line.strip_prefix("SKIP ") {
            let (scenario, reason) = rest.split_once(": ").unwrap_or((rest, ""));
            self.skips.push(SkippedScenario {
                scenario: scenario.to_owned(),
                reason: reason.to_owned(),
            });
        } else if line.starts_with("FAIL ") {
            self.failures.push(line.to_owned());
        } else if line.starts_with("AGAIN ") {
            self.repeats.push(line.to_owned());
        } else if let Some(counts) = parse_counts(line) {
            self.counts = Some(counts);
        }
    }
}

/// Parses `NAME (1.2 s)`, possibly with a note after it.
fn parse_time(text: &str) -> Option<(String, Duration)> {
    let (name, rest) = text.trim_start().split_once(' ')?;
    let (seconds, _) = rest.trim_start().strip_prefix('(')?.split_once(" s)")?;
    let took = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    Some((name.to_owned(), took))
}

/// Parses `N passed, N failed, N skipped`.
fn parse_counts(line: &str) -> Option<ScenarioCounts> {
    let mut parts = line.trim().split(", ").map(|part| part.split_once(' '));
    let mut count = |word: &str| match parts.next() {
        Some(Some((number, what))) if what == word => number.parse().ok(),
        _ => None,
    };
    let counts = ScenarioCounts {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("skipped")?,
    };
    parts.next().is_none().then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runner_prints_is_read() {
        let mut outcome = RunnerOutput::default();
        for line in [
            "ok   close/client/v4 (1.2 s)",
            "ok   close/server/v4 (0.5 s): seen late (2 s)",
            "SKIP protocols/sctp: this kernel has no Sctp: not supported",
            "  detail",
            "AGAIN ports/bind/v4: the kernel skipped a program",
            "FAIL c: off by one",
            "ok",
            "ok   without_time",
            "2 passed, 1 failed, 1 skipped\r",
        ] {
            outcome.take(line);
        }
        let expected = RunnerOutput {
            counts: Some(ScenarioCounts {
                passed: 2,
                failed: 1,
                skipped: 1,
            }),
            times: vec![
                ("close/client/v4".to_owned(), Duration::from_millis(1200)),
                ("close/server/v4".to_owned(), Duration::from_millis(500)),
            ],
            failures: vec!["FAIL c: off by one".to_owned()],
            skips: vec![SkippedScenario {
                scenario: "protocols/sctp".to_owned(),
                reason: "this kernel has no Sctp: not supported".to_owned(),
            }],
            repeats: vec!["AGAIN ports/bind/v4: the kernel skipped a program".to_owned()],
            unsteady: Vec::new(),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn other_lines_are_no_counts() {
        assert_eq!(parse_counts("3 passed"), None);
        assert_eq!(parse_counts("x passed, 1 failed, 0 skipped"), None);
        assert_eq!(parse_counts("1 passed, 1 failed, 0 skipped, 2 x"), None);
    }

    #[test]
    fn times_that_are_none_are_left_out() {
        assert_eq!(parse_time("a (x s)"), None);
        assert_eq!(parse_time("a (-1 s)"), None);
        assert_eq!(parse_time("a 1.0 s"), None);
    }
}
