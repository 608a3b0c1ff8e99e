//! A second run of the few scenarios that failed in a full run. Among some thousands that depend on timers, on emulated
//! CPUs and on paths that a kernel takes once in many thousand times, one fails now and then without any fault of the
//! code. It is played twice more, with nothing else in parallel; if it passes both times it counts as passed, and is
//! listed at the end of the summary as unsteady: the cause has to be found. The run fails if there are more than a few
//! of them, or if an error is reported at the end of a trace, which is not about a single scenario.

use super::{
    Run, machine,
    plan::Unit,
    result::{PhaseResult, PhaseVerdict, judge},
    scenarios::{RunnerOutput, TierLimit},
};

/// Scenarios that may fail once in a whole run.
const MAX_UNSTEADY: usize = 5;

/// How often one has to pass then.
const TIMES: usize = 2;

/// Plays failed scenarios again, if they are few; those that then pass each time count as passed, but unsteady.
pub fn play_failed_again(run: &Run, units: &[Unit], results: &mut [PhaseResult]) {
    let failed: usize = results.iter().map(|result| failures(result).len()).sum();
    if !(1..=MAX_UNSTEADY).contains(&failed) {
        return;
    }
    println!("\n==== again, alone: what failed ====");
    let phases = units
        .iter()
        .flat_map(|unit| unit.tiers().iter().map(move |tier| (unit, *tier)));
    for (unit, tier) in phases {
        let name = unit.tier(tier);
        for result in results.iter_mut().filter(|result| result.name == name) {
            for line in failures(result).to_vec() {
                if let Some(scenario) = scenario(&line) {
                    let is_well = passes_each_time(run, unit, tier, scenario);
                    settle(result, &line, is_well);
                }
            }
        }
    }
}

fn failures(result: &PhaseResult) -> &[String] {
    match &result.verdict {
        PhaseVerdict::Scenarios(outcome) => &outcome.failures,
        _ => &[],
    }
}

/// The name in `FAIL NAME: what`.
fn scenario(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("FAIL ")?.split_once(": ")?;
    Some(name)
}

fn passes_each_time(run: &Run, unit: &Unit, tier: TierLimit, scenario: &str) -> bool {
    let Some(binaries) = &run.ready.binaries else {
        return false;
    };
    let played = match unit {
        Unit::Kernel(series) => run
            .guests(binaries)
            .play_each(series, tier, &[scenario; TIMES]),
        _ => (0..TIMES)
            .map(|_| {
                let (outcome, code) = machine::run(&unit.tag(), tier, binaries, Some(scenario))?;
                Ok(judge(outcome, Some(code)))
            })
            .collect(),
    };
    match played {
        Ok(verdicts) => {
            verdicts.len() == TIMES && verdicts.iter().all(|verdict| shows(verdict, scenario))
        }
        Err(error) => {
            println!("[{}] error: {error:#}", unit.tag());
            false
        }
    }
}

/// Whether a run was successful, and this scenario passed in it.
fn shows(verdict: &PhaseVerdict, scenario: &str) -> bool {
    match verdict {
        PhaseVerdict::Scenarios(RunnerOutput {
            counts: Some(counts),
            times,
            ..
        }) => counts.failed == 0 && times.iter().any(|(name, _)| name == scenario),
        _ => false,
    }
}

/// Turns a failure into a pass if the scenario passed when played again.
fn settle(result: &mut PhaseResult, line: &str, is_well: bool) {
    let PhaseVerdict::Scenarios(outcome) = &mut result.verdict else {
        return;
    };
    let Some(counts) = outcome.counts.as_mut().filter(|_| is_well) else {
        return;
    };
    counts.failed -= 1;
    counts.passed += 1;
    outcome.failures.retain(|failure| failure != line);
    outcome.unsteady.push(format!(
        "UNSTEADY, passed {TIMES} of {TIMES} times when played again alone: {line}"
    ));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test::result::tests::outcome;

    fn verdict(lines: &[&str]) -> PhaseVerdict {
        judge(outcome(lines), Some(0))
    }

    #[test]
    fn it_has_to_pass_and_nothing_else_may_fail() {
        let passed = ["ok   a/v4 (1.0 s)", "1 passed, 0 failed, 0 skipped"];
        assert!(shows(&verdict(&passed), "a/v4"));
        assert!(!shows(&verdict(&passed), "b/v4"));
        let late = [
            "ok   a/v4 (1.0 s)",
            "FAIL nothing_told_later: a kill",
            "1 passed, 1 failed, 0 skipped",
        ];
        assert!(!shows(&judge(outcome(&late), Some(1)), "a/v4"));
        let skipped = ["SKIP a/v4: no", "0 passed, 0 failed, 1 skipped"];
        assert!(!shows(&judge(outcome(&skipped), Some(1)), "a/v4"));
        assert!(!shows(&PhaseVerdict::Failed("no guest".into()), "a/v4"));
    }

    #[test]
    fn a_pass_is_counted_and_told() {
        let lines = [
            "ok   a (1.0 s)",
            "FAIL b: x: y",
            "FAIL c: z",
            "1 passed, 2 failed, 0 skipped",
        ];
        let mut result = PhaseResult::new(
            "kernel 5.10 best",
            Duration::ZERO,
            PhaseVerdict::Scenarios(outcome(&lines)),
        );
        assert_eq!(scenario("FAIL b: x: y"), Some("b"));
        settle(&mut result, "FAIL b: x: y", true);
        settle(&mut result, "FAIL c: z", false);
        let counts = result.counts().unwrap();
        assert_eq!((counts.passed, counts.failed), (2, 1));
        assert_eq!(failures(&result), ["FAIL c: z"]);
        assert!(!result.is_well());
        let PhaseVerdict::Scenarios(outcome) = &result.verdict else {
            panic!("{:?}", result.verdict);
        };
        assert_eq!(outcome.unsteady.len(), 1);
        assert!(outcome.unsteady[0].ends_with("FAIL b: x: y"));
    }
}
