//! A scenario with a `twtrace trace` of its own.

use std::{fs::File, time::Duration};

use anyhow::{Result, bail, ensure};

use super::{Context, judge, stage_process::StageProcess, trace::Trace};
use crate::{
    expect::facts::{self, Facts, KernelFacts},
    stage::{
        Ip, Skip,
        finding::{Finding, Played},
    },
    sys::{hidden_births::Recording, process},
};

/// How often it is played again.
const REPLAYS: u32 = 5;

/// Plays a scenario while a trace that the calling thread starts watches: in the namespaces of that thread.
///
/// # Errors
/// With what is wrong; a [`Skip`] where it can't be played.
pub fn play_with_own_trace(context: &Context, scenario: &str) -> Result<()> {
    let hidden = Recording::begin();
    let hidden_so_far = || hidden.as_ref().and_then(|hidden| hidden.all().ok());
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
    for tries_left in (0..=REPLAYS).rev() {
        let missed = (trace.misses(), hidden_so_far());
        let wrong = play_once(&trace, &facts, scenario, &mut keeper)?;
        if wrong.is_empty() {
            break;
        }
        // The kernel skipped a program meanwhile and counted that, or runs none in the context of init.
        if (trace.misses(), hidden_so_far()) == missed || tries_left == 0 {
            bail!("{}", wrong.join("\n"));
        }
    }
    let status = trace.end()?.status;
    ensure!(status.success(), "twtrace ended with {status}");
    Ok(())
}

/// What is wrong.
fn play_once(
    trace: &Trace,
    facts: &Facts,
    scenario: &str,
    keeper: &mut Vec<File>,
) -> Result<Vec<String>> {
    let (stage, played) = played(scenario, keeper)?;
    let pace = if process::emulated() { 5 } else { 1 };
    let quiet = Duration::from_millis(300) * pace;
    let limit = Duration::from_secs(5) * pace;
    let events = trace.collect(stage.namespace, quiet, limit, |events| {
        judge::is_complete(&played, facts, events)
    });
    Ok(judge::judge_events(&played, facts, &events))
}

/// What was played, again where the kernel took a rare way.
fn played(scenario: &str, keeper: &mut Vec<File>) -> Result<(StageProcess, Box<Played>)> {
    let mut rare = String::new();
    for _ in 0..=REPLAYS {
        let mut stage = StageProcess::start(scenario, Ip::V4, keeper)?;
        match stage.play()? {
            Finding::Played(played) => return Ok((stage, played)),
            Finding::Skip { reason } => bail!(Skip(reason)),
            Finding::Broken { error } => bail!("{error}"),
            Finding::Again { reason } => rare = reason,
        }
    }
    bail!("{rare}, in {} tries", REPLAYS + 1)
}
