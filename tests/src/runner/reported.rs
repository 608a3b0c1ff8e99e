//! Scenarios that have a `twtrace report` of their own.

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    Context, Options, TierLimit, judge, keep, memory,
    replay::{PlayOutcome, until_judged},
    report,
    selection::ScenarioRun,
    stage_process::StageProcess,
    verdicts::Verdict,
};
use crate::{
    expect::environment::{self, Facts, KernelFacts},
    scenarios::{ObservedBy, ReportRun},
    stage::finding::{PlayResult, Played},
    sys::{hidden_births::Recording, slabinfo::SlabCache},
};

/// Plays a scenario during a report, and compares the report.
pub fn play(
    context: &Context,
    options: &Options,
    kernel: KernelFacts,
    run: &ScenarioRun,
) -> Result<Verdict> {
    let hidden = Recording::begin();
    until_judged(&run.name, hidden.as_ref(), &context.verdicts, || {
        play_once(context, options, kernel, run)
    })
}

fn play_once(
    context: &Context,
    options: &Options,
    kernel: KernelFacts,
    run: &ScenarioRun,
) -> Result<PlayOutcome> {
    let ObservedBy::Report(report_run) = run.scenario.observer else {
        bail!("not a scenario for a report");
    };
    let mut keeper = Vec::new();
    let mut stage = StageProcess::start(run.scenario.name, run.ip, &mut keeper)?;
    let report =
        report::RunningReport::start(&context.twtrace, &arguments(context.tier, report_run))?;
    let played = match stage.play()? {
        PlayResult::Played(played) => played,
        PlayResult::Skip { reason } => return Ok(PlayOutcome::Judged(Verdict::Skipped { reason })),
        PlayResult::Again { reason } => return Ok(PlayOutcome::Unlucky(reason)),
        PlayResult::Broken { error } => bail!("{error}"),
    };
    let slab_before = memory::now(&played)?;
    let report = report.end()?;
    let slab_after = memory::now(&played)?;
    keep(options, &run.name, std::slice::from_ref(&report))?;
    let slabs = (slab_before, slab_after);
    let netns = stage.namespace.netns;
    judged(report_run, kernel, netns, &played, (&report, slabs)).map(PlayOutcome::Judged)
}

/// Compares a report that covers the scenario; with what /proc/slabinfo showed just before the report ended, and just
/// after.
pub fn judged(
    run: ReportRun,
    mut kernel: KernelFacts,
    netns: u64,
    played: &Played,
    (report, (slab_before, slab_after)): (&Value, (Option<SlabCache>, Option<SlabCache>)),
) -> Result<Verdict> {
    kernel.reset_reasons = environment::has_reset_reasons()?;
    let facts = Facts {
        tiers: environment::tiers_of(report)?,
        kernel,
    };
    let mut wrong = judge::judge_report(played, &facts, run, netns, report);
    wrong.extend(memory::judge(played, slab_before, slab_after, report));
    let audit = report["audit"].as_array().into_iter().flatten();
    let seen = audit
        .filter(|row| row["netns"] == netns)
        .filter_map(|row| row["births_seen"].as_u64())
        .sum();
    if wrong.is_empty() {
        return Ok(judge::passed(played, seen));
    }
    let rows = |name: &str| {
        let rows = report[name].as_array().into_iter().flatten();
        rows.map(|row| format!("{name}: {row}")).collect::<Vec<_>>()
    };
    let reported = [
        "audit",
        "lost",
        "processes",
        "close_wait",
        "unscanned",
        "budgets",
    ]
    .map(rows)
    .concat();
    Ok(Verdict::Failed { wrong, reported })
}

fn arguments(tier: TierLimit, run: ReportRun) -> Vec<String> {
    let mut arguments = tier.options();
    arguments.extend(run.options.iter().map(|option| (*option).to_owned()));
    arguments
}
