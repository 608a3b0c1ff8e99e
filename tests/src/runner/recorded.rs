//! Scenarios that share one `twtrace record`; the output of `report` and `doctor` on the recording is compared with
//! each.
//!
//! Only emulated guests share a recording: attaching takes most of a scenario's time there. This machine plays each
//! scenario with a report or doctor of its own.

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    Context, Options, doctor, keep, play_alone, pool, report::RunningReport, reported,
    selection::ScenarioRun, stage_process::StageProcess, verdicts::Verdict,
};
use crate::{
    expect::environment::KernelFacts, scenarios::ObservedBy, stage::finding::PlayResult,
    sys::process,
};

/// How many share a recording: all their sockets are open at the same time.
const TOGETHER: usize = 16;

/// How many play at the same time.
const PLAY_AT_A_TIME: usize = 3;

/// Whether a scenario shares a recording on this machine.
pub fn is_shared(run: &ScenarioRun) -> bool {
    process::emulated() && can_share(run)
}

/// Its port allocations are fast: a recording has these by process, not by network namespace.
const SEARCHES_BY_PROCESS: &str = "doctor/binder";

/// Options apply to the whole tracer; caches of the kernel and full CPUs concern the whole host.
fn can_share(run: &ScenarioRun) -> bool {
    match run.scenario.observer {
        ObservedBy::Doctor(_) => run.scenario.name != SEARCHES_BY_PROCESS,
        ObservedBy::Report(report) => {
            report.options.is_empty() && !report.ends_before && !pool::is_alone(&run.name, true)
        }
        _ => false,
    }
}

/// A scenario that has been played, with its sockets still open.
struct Scene<'a> {
    run: &'a ScenarioRun,
    stage: StageProcess,
    finding: Result<PlayResult>,
    took: Duration,
}

/// Plays them, some at the same time, and compares each.
pub fn play_all(context: &Context, options: &Options, kernel: KernelFacts, runs: &[ScenarioRun]) {
    for together in runs.chunks(TOGETHER) {
        if let Err(error) = play(context, options, kernel, together) {
            let error = error.context("record");
            for run in together {
                let verdict = Verdict::broken(&error);
                context.verdicts.add(&run.name, Duration::ZERO, verdict);
            }
        }
    }
}

fn play(
    context: &Context,
    options: &Options,
    kernel: KernelFacts,
    runs: &[ScenarioRun],
) -> Result<()> {
    let mut keeper = Vec::new();
    let stages: Vec<(&ScenarioRun, StageProcess)> = runs
        .iter()
        .map(|run| {
            let stage = StageProcess::start(run.scenario.name, run.ip, &mut keeper)?;
            Ok((run, stage))
        })
        .collect::<Result<_>>()?;
    let directory = tempfile::tempdir().context("make a directory")?;
    let recording = directory.path().join("recording");
    let name = recording.to_str().context("a directory's name")?;
    let verb = ["record", "-o", name];
    let recorder = RunningReport::start_verb(&context.twtrace, &verb, &context.tier.options())?;
    let scenes = Mutex::new(Vec::new());
    let play = |(run, mut stage): (_, StageProcess)| {
        let begun = Instant::now();
        let scene = Scene {
            run,
            finding: stage.play(),
            stage,
            took: begun.elapsed(),
        };
        let mut scenes = scenes.lock().unwrap_or_else(PoisonError::into_inner);
        scenes.push(scene);
    };
    pool::work(PLAY_AT_A_TIME, stages, |(run, _)| &run.name, play);
    recorder.end_with(&[0])?;
    let recording = SharedRecording {
        context,
        options,
        kernel,
        path: &recording,
    };
    for scene in scenes.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let (run, took, begun) = (scene.run, scene.took, Instant::now());
        let verdict = recording.judge(scene);
        let verdict = verdict.unwrap_or_else(|error| Verdict::broken(&error));
        context
            .verdicts
            .add(&run.name, took + begun.elapsed(), verdict);
    }
    Ok(())
}

/// What the scenarios share.
struct SharedRecording<'a> {
    context: &'a Context,
    options: &'a Options,
    kernel: KernelFacts,
    path: &'a Path,
}

impl SharedRecording<'_> {
    fn judge(&self, scene: Scene<'_>) -> Result<Verdict> {
        let Scene {
            run,
            stage,
            finding,
            ..
        } = scene;
        let played = match finding? {
            PlayResult::Played(played) => played,
            PlayResult::Skip { reason } => return Ok(Verdict::Skipped { reason }),
            PlayResult::Broken { error } => bail!("{error}"),
            PlayResult::Again { reason } => {
                // Played again with a tracer of its own, so that the others need not be repeated.
                let context = self.context.of(&run.name);
                context.again(&reason);
                return play_alone(&context, self.options, self.kernel, run);
            }
        };
        let netns = stage.namespace.netns;
        match run.scenario.observer {
            ObservedBy::Doctor(wanted) => {
                let options = doctor::wanted_of(netns, wanted);
                let said = self.say(doctor::verb(wanted), &options)?;
                doctor::judged(self.context, self.options, run, wanted, &played, said)
            }
            ObservedBy::Report(report_run) => {
                let (code, output) = self.say(
                    &["report", "--json"],
                    &["--netns".to_owned(), netns.to_string()],
                )?;
                let report: Value = serde_json::from_str(&output).with_context(|| {
                    format!("not a JSON document but, with code {code}: {output:.300}")
                })?;
                keep(self.options, &run.name, std::slice::from_ref(&report))?;
                let slabs = (None, None);
                reported::judged(report_run, self.kernel, netns, &played, (&report, slabs))
            }
            _ => bail!("not a scenario for a recording"),
        }
    }

    /// The output of a verb for the recording, with its exit code.
    fn say(&self, verb: &[&str], options: &[String]) -> Result<(i32, String)> {
        let output = Command::new(&self.context.twtrace)
            .args(verb)
            .args(options)
            .arg("--from")
            .arg(self.path)
            .output()
            .context("run twtrace on a recording")?;
        let code = output.status.code().unwrap_or(-1);
        if output.stdout.is_empty() {
            bail!(
                "ended with {code}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok((code, String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}
