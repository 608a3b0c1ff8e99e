//! The scenarios that have a `twtrace report` of their own.

use anyhow::{Result, bail};

use super::{
    Context, Options, Run, TierLimit, judge, keep, memory,
    replay::{Outcome, until_judged},
    report,
    stage_process::StageProcess,
    verdicts::Verdict,
};
use crate::{
    expect::facts::{self, Facts, KernelFacts},
    scenarios::{Observer, ReportRun},
    stage::finding::Finding,
    sys::hidden_births::Recording,
};

/// How often a scenario is played again.
const REPLAYS: u32 = 5;

/// Plays it within a report, and judges that.
///
/// # Errors
/// When the report or the stage breaks.
pub fn play(
    context: &Context,
    options: &Options,
    kernel: KernelFacts,
    run: &Run,
) -> Result<Verdict> {
    let hidden = Recording::begin();
    until_judged(&run.name, hidden.as_ref(), REPLAYS, || {
        play_once(context, options, kernel, run)
    })
}

fn play_once(
    context: &Context,
    options: &Options,
    mut kernel: KernelFacts,
    run: &Run,
) -> Result<Outcome> {
    let Observer::Report(report_run) = run.scenario.observer else {
        bail!("not a scenario for a report");
    };
    let mut keeper = Vec::new();
    let mut stage = StageProcess::start(run.scenario.name, run.ip, &mut keeper)?;
    let report = report::Report::start(&context.twtrace, &arguments(context.tier, report_run))?;
    let played = match stage.play()? {
        Finding::Played(played) => played,
        Finding::Skip { reason } => return Ok(Outcome::Judged(Verdict::Skipped { reason })),
        Finding::Again { reason } => return Ok(Outcome::Unlucky(reason)),
        Finding::Broken { error } => bail!("{error}"),
    };
    let slab_before = memory::now(&played)?;
    let report = report.end()?;
    let slab_after = memory::now(&played)?;
    keep(options, &run.name, std::slice::from_ref(&report))?;
    kernel.reset_reasons = facts::has_reset_reasons()?;
    let facts = Facts {
        tiers: facts::tiers_of(&report)?,
        kernel,
    };
    let mut wrong =
        judge::judge_report(&played, &facts, report_run, stage.namespace.netns, &report);
    wrong.extend(memory::judge(&played, slab_before, slab_after, &report));
    let audit = report["audit"].as_array().into_iter().flatten();
    let seen = audit
        .filter(|row| row["netns"] == stage.namespace.netns)
        .filter_map(|row| row["births_seen"].as_u64())
        .sum();
    if wrong.is_empty() {
        return Ok(Outcome::Judged(judge::passed(&played, seen)));
    }
    let rows = |name: &str| {
        let rows = report[name].as_array().into_iter().flatten();
        rows.map(|row| format!("{name}: {row}")).collect::<Vec<_>>()
    };
    let told = [
        "audit",
        "lost",
        "processes",
        "close_wait",
        "unscanned",
        "budgets",
    ]
    .map(rows)
    .concat();
    Ok(Outcome::Judged(Verdict::Failed { wrong, told }))
}

fn arguments(tier: TierLimit, run: ReportRun) -> Vec<String> {
    let mut arguments = tier.options();
    arguments.extend(run.options.iter().map(|option| (*option).to_owned()));
    arguments
}
