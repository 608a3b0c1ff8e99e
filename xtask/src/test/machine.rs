//! The scenarios on the machine's own kernel.

use anyhow::Result;

use super::{
    console,
    plan::Unit,
    result::{Numbers, PhaseResult, judge},
    scenarios::{RunnerOutput, TierLimit},
};
use crate::{build::Binaries, run::as_root};

/// Plays all scenarios of a tier, or those that match `only`.
pub fn play(
    unit: &Unit,
    tier: TierLimit,
    binaries: &Binaries,
    only: Option<&str>,
    numbers: Numbers,
) -> PhaseResult {
    let work = || run(&unit.tag(), tier, binaries, only);
    let (mut result, _) = console::phase(
        &unit.name(),
        |(outcome, code)| judge(outcome.clone(), Some(*code)),
        work,
    );
    result.numbers = numbers;
    result
}

/// One run of the runner: its output, and its exit code.
pub fn run(
    tag: &str,
    tier: TierLimit,
    binaries: &Binaries,
    only: Option<&str>,
) -> Result<(RunnerOutput, i32)> {
    let mut command = as_root(&binaries.scenarios())?;
    command
        .arg("--twtrace")
        .arg(binaries.twtrace())
        .args(arguments(tier, only));
    let mut outcome = RunnerOutput::default();
    let code = console::follow(tag, command, |line| {
        outcome.take(line);
        true
    })?;
    Ok((outcome, code))
}

/// The runner's arguments for a tier.
pub fn arguments(tier: TierLimit, only: Option<&str>) -> Vec<String> {
    let mut arguments = vec!["--tier".to_owned(), tier.name().to_owned()];
    if let Some(glob) = only {
        arguments.extend(["--only".to_owned(), glob.to_owned()]);
    }
    arguments
}
