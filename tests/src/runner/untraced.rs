//! Scenarios that are not traced: their truth against the kernel's own counters.

use std::{fs::File, time::Instant};

use anyhow::{Result, bail};

use super::{
    judge,
    replay::{PlayOutcome, until_judged},
    selection::ScenarioRun,
    stage_process::StageProcess,
    verdicts::{Verdict, Verdicts},
};
use crate::{expect::environment::KernelFacts, stage::finding::PlayResult};

/// Plays all of them, and prints the verdicts.
pub fn play_all(runs: &[ScenarioRun], kernel: KernelFacts, verdicts: &Verdicts) {
    let mut keeper = Vec::new();
    for run in runs {
        let start = Instant::now();
        let verdict = until_judged(&run.name, None, verdicts, || {
            play_once(run, kernel, &mut keeper)
        });
        let verdict = verdict.unwrap_or_else(|error| Verdict::broken(&error));
        verdicts.add(&run.name, start.elapsed(), verdict);
    }
}

fn play_once(
    run: &ScenarioRun,
    kernel: KernelFacts,
    keeper: &mut Vec<File>,
) -> Result<PlayOutcome> {
    let mut stage = StageProcess::start(run.scenario.name, run.ip, keeper)?;
    Ok(match stage.play()? {
        PlayResult::Broken { error } => bail!("{error}"),
        PlayResult::Again { reason } => PlayOutcome::Unlucky(reason),
        PlayResult::Skip { reason } => PlayOutcome::Judged(Verdict::Skipped { reason }),
        PlayResult::Played(played) => PlayOutcome::Judged(Verdict::of(judge::judge_traffic(
            &played,
            kernel.counts_births,
        ))),
    })
}
