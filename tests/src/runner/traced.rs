//! The scenarios that one `twtrace trace` watches together.

use std::{
    fs::File,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;

use super::{
    Context, Options, Run, judge, keep,
    replay::{Outcome, until_judged},
    stage_process::StageProcess,
    trace::Trace,
    verdicts::{Verdict, Verdicts},
};
use crate::{
    expect::facts::{self, Facts, KernelFacts, Question, Tier},
    scenarios::Observer,
    stage::finding::{Finding, Played},
    sys::{hidden_births::Recording, process},
};

/// Scenarios played at a time: most of them wait most of the time.
const AT_A_TIME: usize = 4;
/// How often a scenario is played again where the kernel takes a rare way that is not the scenario's.
const REPLAYS: u32 = 5;

/// Where ends are presumed, twtrace looks every five seconds whether they have come.
const LOOKS: Duration = Duration::from_secs(10);

/// What all runs share.
struct Session<'a> {
    hidden: Option<Recording>,
    options: &'a Options,
    facts: Facts,
    trace: Trace,
    keeper: &'a Mutex<Vec<File>>,
}

/// Plays all of them, and prints the verdicts.
///
/// # Errors
/// When twtrace can't be started or does not say its tiers.
pub fn play_all(
    context: &Context,
    options: &Options,
    mut kernel: KernelFacts,
    runs: &[Run],
    keeper: &Mutex<Vec<File>>,
    verdicts: &Verdicts,
) -> Result<()> {
    let watched_by = |observer| {
        runs.iter()
            .filter(move |run| run.scenario.observer == observer)
    };
    let early: Vec<(&Run, Result<StageProcess>)> = watched_by(Observer::TraceFromTheMiddle)
        .map(|run| (run, start(run, keeper)))
        .collect();

    let trace = Trace::start(&context.twtrace, &context.tier.options())?;
    kernel.reset_reasons = facts::has_reset_reasons()?;
    let session = Session {
        hidden: Recording::begin(),
        options,
        facts: Facts {
            tiers: facts::tiers_of(&trace.start)?,
            kernel,
        },
        trace,
        keeper,
    };
    for (run, stage) in early {
        // What began before tracing can't be played again.
        session.play(run, stage, 0, verdicts);
    }
    let queue = Mutex::new(watched_by(Observer::Trace));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(run) = next else {
                        return;
                    };
                    session.start_and_play(run, verdicts);
                }
            });
        }
    });
    for run in watched_by(Observer::TraceAlone) {
        session.start_and_play(run, verdicts);
    }
    end(session, verdicts);
    Ok(())
}

fn start(run: &Run, keeper: &Mutex<Vec<File>>) -> Result<StageProcess> {
    let mut file = Vec::new();
    let stage = StageProcess::start(run.scenario.name, run.ip, &mut file);
    keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .append(&mut file);
    stage
}

impl Session<'_> {
    fn start_and_play(&self, run: &Run, verdicts: &Verdicts) {
        self.play(run, start(run, self.keeper), REPLAYS, verdicts);
    }

    fn play(&self, run: &Run, stage: Result<StageProcess>, replays: u32, verdicts: &Verdicts) {
        let started = Instant::now();
        let verdict = self
            .try_play(run, stage, replays)
            .unwrap_or_else(|error| Verdict::broken(&error));
        verdicts.add(&run.name, started.elapsed(), verdict);
    }

    fn try_play(&self, run: &Run, stage: Result<StageProcess>, replays: u32) -> Result<Verdict> {
        let mut first = Some(stage);
        until_judged(&run.name, self.hidden.as_ref(), replays, || {
            let stage = first.take().unwrap_or_else(|| start(run, self.keeper));
            let missed = self.trace.misses();
            match self.play_once(run, &mut stage?)? {
                Outcome::Judged(Verdict::Failed { .. })
                    if self.owns_up_to_misses() && self.trace.misses() > missed =>
                {
                    Ok(Outcome::Unlucky(
                        "the kernel skipped a program meanwhile, and counted that".to_owned(),
                    ))
                }
                outcome => Ok(outcome),
            }
        })
    }

    /// Whether searches for ports are seen by classic tracepoints, which the kernel skips while a map is
    /// being read on that CPU: twtrace says so of that tier.
    fn owns_up_to_misses(&self) -> bool {
        let lost = self.facts.lost(Question::Port).unwrap_or_default();
        self.facts.tier(Question::Port) == Tier::Syscall && lost.contains("skips")
    }

    fn play_once(&self, run: &Run, stage: &mut StageProcess) -> Result<Outcome> {
        let truth = match stage.play()? {
            Finding::Played(truth) => truth,
            Finding::Again { reason } => return Ok(Outcome::Unlucky(reason)),
            Finding::Skip { reason } => return Ok(Outcome::Judged(Verdict::Skipped { reason })),
            Finding::Broken { error } => {
                return Ok(Outcome::Judged(Verdict::Failed {
                    wrong: vec![error],
                    told: self.told(stage).iter().map(Value::to_string).collect(),
                }));
            }
        };
        let events = self.collect(&truth, stage);
        keep(self.options, &run.name, &events)?;
        let wrong = judge::judge_events(&truth, &self.facts, &events);
        if wrong.is_empty() {
            let births = events.iter().filter(|event| event["event"] == "time_wait");
            let verdict = judge::passed(&truth, births.count() as u64);
            return Ok(Outcome::Judged(verdict));
        }
        Ok(Outcome::Judged(Verdict::Failed {
            wrong,
            told: events.iter().map(Value::to_string).collect(),
        }))
    }

    fn collect(&self, played: &Played, stage: &StageProcess) -> Vec<Value> {
        // twtrace hands events on every 50 ms and holds some resets back for as long again.
        let pace = if process::emulated() { 5 } else { 1 };
        let quiet = Duration::from_millis(300) * pace;
        let mut limit = Duration::from_secs(5) * pace;
        if played.about_ends && self.facts.tier(Question::TimeWaitEnd) == Tier::Inferred {
            limit += LOOKS;
        }
        self.trace.collect(stage.namespace, quiet, limit, |events| {
            judge::is_complete(played, &self.facts, events)
        })
    }

    fn told(&self, stage: &StageProcess) -> Vec<Value> {
        self.trace.collect(
            stage.namespace,
            Duration::from_millis(300),
            Duration::ZERO,
            |_| true,
        )
    }
}

/// SIGINT must end the trace cleanly, with nothing lost and nothing odd said.
fn end(session: Session, verdicts: &Verdicts) {
    let started = Instant::now();
    let verdict = match session.trace.end() {
        Err(error) => Verdict::broken(&error),
        Ok(ended) => {
            let mut wrong = Vec::new();
            if !ended.status.success() {
                wrong.push(format!("twtrace ended with {}", ended.status));
            }
            if !ended.lost.is_empty() {
                wrong.push(format!("events were lost: {:?}", ended.lost));
            }
            if let Some(line) = ended.unreadable.first() {
                wrong.push(format!("a line is no JSON object: {line}"));
            }
            if ended.stderr.contains("panicked") {
                wrong.push("twtrace panicked".to_owned());
            }
            if wrong.is_empty() {
                Verdict::Passed
            } else {
                let told = ended.stderr.lines().map(str::to_owned).collect();
                Verdict::Failed { wrong, told }
            }
        }
    };
    verdicts.add("trace_ends_by_sigint", started.elapsed(), verdict);
}
