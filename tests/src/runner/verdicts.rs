//! One line per scenario, and the totals at the end.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Result of a scenario.
pub enum Verdict {
    Passed,
    /// As expected, with a remark that must be shown.
    PassedBut {
        note: String,
    },
    /// The differences, and what twtrace reported.
    Failed {
        /// One difference per line.
        wrong: Vec<String>,
        /// Lines to show below them.
        reported: Vec<String>,
    },
    /// It could not be played here.
    Skipped {
        /// Why not.
        reason: String,
    },
}

impl Verdict {
    /// Failed, without lines to show.
    pub fn failed(wrong: Vec<String>) -> Self {
        Self::Failed {
            wrong,
            reported: Vec::new(),
        }
    }

    /// Failed if there are differences, else passed.
    pub fn of(wrong: Vec<String>) -> Self {
        if wrong.is_empty() {
            Self::Passed
        } else {
            Self::failed(wrong)
        }
    }

    /// An error before anything could be compared.
    pub fn broken(error: &anyhow::Error) -> Self {
        Self::failed(vec![format!("{error:#}")])
    }
}

/// Prints and counts verdicts, from any thread.
#[derive(Default)]
pub struct Verdicts {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
    again: u32,
}

impl Counts {
    /// Whether the run has tested something, and nothing failed.
    fn is_success(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

/// Maximum number of lines of a kind.
const LINES: usize = 20;

fn print_some(margin: &str, lines: &[String]) {
    for line in lines.iter().take(LINES) {
        println!("{margin}{line}");
    }
    if lines.len() > LINES {
        println!("{margin}… {} more", lines.len() - LINES);
    }
}

impl Verdicts {
    /// Prints a verdict.
    pub fn add(&self, name: &str, took: Duration, verdict: Verdict) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = took.as_secs_f64();
        match verdict {
            Verdict::Passed => {
                counts.passed += 1;
                println!("ok   {name} ({seconds:.1} s)");
            }
            Verdict::PassedBut { note } => {
                counts.passed += 1;
                println!("ok   {name} ({seconds:.1} s): {note}");
            }
            Verdict::Skipped { reason } => {
                counts.skipped += 1;
                println!("SKIP {name}: {reason}");
            }
            Verdict::Failed { wrong, reported } => {
                counts.failed += 1;
                let first = wrong.first().map_or("no reason", String::as_str);
                println!("FAIL {name}: {first}");
                print_some("       ", wrong.get(1..).unwrap_or_default());
                print_some("     | ", &reported);
            }
        }
    }

    /// Prints that a scenario is played again, and why.
    pub fn again(&self, name: &str, reason: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.again += 1;
        // A program parses this line as well, so it must be a single line.
        println!("AGAIN {name}: {}", reason.replace('\n', "; "));
    }

    /// How many have been played again so far.
    #[cfg(test)]
    pub fn repeats(&self) -> u32 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.again
    }

    /// Prints the totals; returns whether something passed and nothing failed.
    pub fn finish(&self) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.again > 0 {
            println!("{} again", counts.again);
        }
        if counts.passed + counts.failed == 0 {
            println!("nothing was played: that is no success");
        }
        println!(
            "{} passed, {} failed, {} skipped",
            counts.passed, counts.failed, counts.skipped
        );
        counts.is_success()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_success(verdicts: Vec<Verdict>) -> bool {
        let all = Verdicts::default();
        for verdict in verdicts {
            all.add("a", Duration::ZERO, verdict);
        }
        all.finish()
    }

    #[test]
    fn what_shows_nothing_is_no_success() {
        let skipped = || Verdict::Skipped {
            reason: String::new(),
        };
        assert!(!is_success(vec![]));
        assert!(!is_success(vec![skipped()]));
        assert!(is_success(vec![skipped(), Verdict::Passed]));
        assert!(!is_success(vec![
            Verdict::Passed,
            Verdict::of(vec![String::new()])
        ]));
    }
}
