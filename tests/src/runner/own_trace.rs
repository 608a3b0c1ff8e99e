//! Plays a scenario with a `twtrace trace` of its own.

use std::fs::File;

use anyhow::{Result, bail, ensure};

use super::{
    Context, judge, play_until_lucky,
    replay::{PlayOutcome, REPLAYS},
    selection::ScenarioRun,
    stage_process::StageProcess,
    trace::Trace,
    traced,
    verdicts::Verdict,
};
use crate::{
    expect::environment::{self, Facts, KernelFacts},
    stage::{Ip, finding::PlayResult},
    sys::hidden_births::Recording,
};

/// Plays a scenario while it is traced by a trace that the calling thread starts, in the namespaces of that thread.
///
/// # Errors
/// The differences; a [`crate::stage::Skip`] if it can't be played.
pub fn play_with_own_trace(context: &Context, scenario: &str) -> Result<()> {
    play(context, scenario, Reading::AtOnce)
}

/// The same, but the trace is stopped while the scenario is played, as on a machine that is too busy: it reads the
/// events when everything is over.
pub fn play_while_stopped(context: &Context, scenario: &str) -> Result<()> {
    play(context, scenario, Reading::Afterwards)
}

/// When the trace reads its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    AtOnce,
    Afterwards,
}

fn play(context: &Context, scenario: &str, reading: Reading) -> Result<()> {
    let hidden = Recording::begin();
    let hidden_so_far = || hidden.as_ref().and_then(|hidden| hidden.all().ok());
    let trace = Trace::start(&context.twtrace, &context.tier.options())?;
    let facts = Facts {
        tiers: environment::tiers_of(&trace.start)?,
        kernel: KernelFacts {
            reset_reasons: environment::has_reset_reasons()?,
            // Other processes may create some during this time.
            counts_births: false,
        },
    };
    let mut keeper = Vec::new();
    for tries_left in (0..=REPLAYS).rev() {
        let missed = (trace.misses(), hidden_so_far());
        let wrong = play_once(context, &trace, &facts, (scenario, reading), &mut keeper)?;
        if wrong.is_empty() {
            break;
        }
        // The kernel skipped a program during the scenario and counted that, or runs none in the context of init.
        if (trace.misses(), hidden_so_far()) == missed || tries_left == 0 {
            bail!("{}", wrong.join("\n"));
        }
        context.again("the kernel skipped a program meanwhile, and counted that");
    }
    let wrong = traced::wrong_at_end(&trace.end()?);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Returns the differences.
fn play_once(
    context: &Context,
    trace: &Trace,
    facts: &Facts,
    (scenario, reading): (&str, Reading),
    keeper: &mut Vec<File>,
) -> Result<Vec<String>> {
    if reading == Reading::Afterwards {
        trace.signal(libc::SIGSTOP)?;
    }
    let played = play_until_lucky(context, || {
        StageProcess::start_fenced(scenario, Ip::V4, keeper)
    });
    // Otherwise it could not be ended.
    trace.signal(libc::SIGCONT)?;
    let (stage, played) = played?;
    let collected = traced::collect(trace, &played, facts, &stage);
    Ok(traced::wrong(&played, facts, &collected))
}

/// Plays a scenario that begins before tracing.
pub fn play_from_the_middle(
    context: &Context,
    facts: &Facts,
    run: &ScenarioRun,
) -> Result<PlayOutcome> {
    let mut keeper = Vec::new();
    let mut stage = StageProcess::start_fenced(run.scenario.name, run.ip, &mut keeper)?;
    let trace = Trace::start(&context.twtrace, &context.tier.options())?;
    let played = match stage.play()? {
        PlayResult::Played(played) => played,
        PlayResult::Again { reason } => return Ok(PlayOutcome::Unlucky(reason)),
        PlayResult::Skip { reason } => return Ok(PlayOutcome::Judged(Verdict::Skipped { reason })),
        PlayResult::Broken { error } => bail!("{error}"),
    };
    let collected = traced::collect(&trace, &played, facts, &stage);
    let mut wrong = traced::wrong(&played, facts, &collected);
    wrong.extend(traced::wrong_at_end(&trace.end()?));
    if !wrong.is_empty() {
        return Ok(PlayOutcome::Judged(Verdict::failed(wrong)));
    }
    let births = collected.events.iter();
    let births = births.filter(|event| event["event"] == "time_wait").count();
    Ok(PlayOutcome::Judged(judge::passed(&played, births as u64)))
}
