//! One line a scenario, and the sum at the end.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How a scenario went.
pub enum Verdict {
    /// All as expected.
    Passed,
    /// As expected, but for something that is not to be passed over.
    PassedBut {
        /// What.
        note: String,
    },
    /// What was wrong, and what twtrace said.
    Failed {
        /// One thing a line.
        wrong: Vec<String>,
        /// Lines to show below it.
        told: Vec<String>,
    },
    /// It could not be played here.
    Skipped {
        /// Why not.
        reason: String,
    },
}

impl Verdict {
    /// Something went wrong before anything could be compared.
    pub fn broken(error: &anyhow::Error) -> Self {
        Self::Failed {
            wrong: vec![format!("{error:#}")],
            told: Vec::new(),
        }
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
}

/// More lines of a kind than a reader wants.
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
            Verdict::Failed { wrong, told } => {
                counts.failed += 1;
                let first = wrong.first().map_or("no reason", String::as_str);
                println!("FAIL {name}: {first}");
                print_some("       ", wrong.get(1..).unwrap_or_default());
                print_some("     | ", &told);
            }
        }
    }

    /// Prints the sum; whether nothing failed.
    pub fn finish(&self) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        println!(
            "{} passed, {} failed, {} skipped",
            counts.passed, counts.failed, counts.skipped
        );
        counts.failed == 0
    }
}
