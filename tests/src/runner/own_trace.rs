//! A scenario with a `twtrace trace` of its own.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Context, judge, stage_process::StageProcess, trace::Trace};
use crate::{
    expect::facts::{self, Facts, KernelFacts},
    stage::{Ip, Skip, finding::Finding},
    sys::process,
};

/// Plays a scenario while a trace that the calling thread starts watches: in the namespaces of that thread.
///
/// # Errors
/// With what is wrong; a [`Skip`] where it can't be played.
pub fn play_with_own_trace(context: &Context, scenario: &str) -> Result<()> {
    let trace = Trace::start(&context.twtrace, &context.tier.options())?;
    let facts = Facts {
        tiers: facts::tiers_of(&trace.start)?,
        kernel: KernelFacts {
            reset_reasons: facts::has_reset_reasons()?,
            // Others may make some meanwhile.
            counts_births: false,
        },
    };
    let mut keeper = Vec::new();
    let mut stage = StageProcess::start(scenario, Ip::V4, &mut keeper)?;
    let played = match stage.play()? {
        Finding::Played(played) => played,
        Finding::Skip { reason } => bail!(Skip(reason)),
        Finding::Again { reason } | Finding::Broken { error: reason } => bail!("{reason}"),
    };
    let pace = if process::emulated() { 5 } else { 1 };
    let quiet = Duration::from_millis(300) * pace;
    let limit = Duration::from_secs(5) * pace;
    let events = trace.collect(stage.namespace, quiet, limit, |events| {
        judge::is_complete(&played, &facts, events)
    });
    drop(stage);
    let ended = trace.end()?;
    let mut wrong = judge::judge_events(&played, &facts, &events);
    if !ended.status.success() {
        wrong.push(format!("twtrace ended with {}", ended.status));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}
