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
    Context, doctor, judge, keep,
    late::{self, Accepted},
    options::{Options, TierLimit},
    own_trace,
    replay::{PlayOutcome, until_judged},
    replayed,
    selection::ScenarioRun,
    stage_process::StageProcess,
    trace::{Collected, Ended, Trace},
    verdicts::{Verdict, Verdicts},
};
use crate::{
    expect::environment::{self, Facts, KernelFacts, Question, Tier},
    scenarios::ObservedBy,
    stage::finding::{PlayResult, Played},
    sys::{bpf, hidden_births::Recording, process},
};

/// Scenarios played at the same time: most of them are idle most of the time.
const AT_A_TIME: usize = 8;
/// In an emulated machine their processes need the CPUs.
const AT_A_TIME_EMULATED: usize = 4;

/// If ends are presumed, twtrace checks for them every five seconds.
const LOOKS: Duration = Duration::from_secs(10);

/// One trace, and the scenarios that it watches.
pub struct TracedSession<'a> {
    context: &'a Context,
    options: &'a Options,
    hidden: Option<Recording>,
    facts: Facts,
    trace: Trace,
    /// Namespaces, kept as long as events are assigned by them.
    keeper: Mutex<Vec<File>>,
    /// The scenarios that passed so far, to be checked once more when everything has been reported.
    accepted: Mutex<Vec<Accepted>>,
}

/// Scenarios that began before the trace.
type Early<'a> = Vec<(&'a ScenarioRun, Result<StageProcess>)>;

impl<'a> TracedSession<'a> {
    /// Starts the scenarios that begin before tracing, and then the trace.
    ///
    /// # Errors
    /// If twtrace can't be started or does not report its tiers.
    pub fn start<'r>(
        context: &'a Context,
        options: &'a Options,
        mut kernel: KernelFacts,
        runs: &'r [ScenarioRun],
    ) -> Result<(Self, Early<'r>)> {
        let keeper = Mutex::default();
        let early = watched_by(runs, ObservedBy::TraceFromTheMiddle)
            .map(|run| (run, start_stage(run, &keeper)))
            .collect();
        let trace = Trace::start(&context.twtrace, &context.tier.options())?;
        kernel.reset_reasons = environment::has_reset_reasons()?;
        let facts = Facts {
            tiers: environment::tiers_of(&trace.start)?,
            kernel,
        };
        doctor::hooks_are(&facts);
        let session = Self {
            context,
            options,
            hidden: Recording::begin(),
            facts,
            trace,
            keeper,
            accepted: Mutex::default(),
        };
        Ok((session, early))
    }

    /// Plays all but those that last one minute, and prints the verdicts.
    pub fn play_all(&self, runs: &[ScenarioRun], early: Early<'_>) {
        for (run, stage) in early {
            self.play_early(run, stage);
        }
        let queue = Mutex::new(
            watched_by(runs, ObservedBy::Trace).filter(|run| !run.scenario.lasts_a_minute()),
        );
        let at_a_time = if process::emulated() {
            AT_A_TIME_EMULATED
        } else {
            AT_A_TIME
        };
        thread::scope(|scope| {
            for _ in 0..at_a_time {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(run) = next else {
                            return;
                        };
                        self.start_and_play(run);
                    }
                });
            }
        });
        for run in watched_by(runs, ObservedBy::TraceAlone) {
            self.start_and_play(run);
        }
    }

    /// Plays one, and prints the verdict.
    pub fn start_and_play(&self, run: &ScenarioRun) {
        let started = Instant::now();
        let verdict = until_judged(&run.name, self.hidden.as_ref(), self.verdicts(), || {
            self.watch(run, start_stage(run, &self.keeper)?)
        });
        self.add(run, started, verdict);
    }

    /// A scenario that began before tracing can't be played again in this trace: then it gets one of its own.
    fn play_early(&self, run: &ScenarioRun, stage: Result<StageProcess>) {
        let started = Instant::now();
        let mut first = Some(stage);
        let verdict = until_judged(
            &run.name,
            self.hidden.as_ref(),
            self.verdicts(),
            || match first.take() {
                Some(stage) => self.watch(run, stage?),
                None => own_trace::play_from_the_middle(self.context, &self.facts, run),
            },
        );
        self.add(run, started, verdict);
    }

    fn verdicts(&self) -> &Verdicts {
        &self.context.verdicts
    }

    fn add(&self, run: &ScenarioRun, started: Instant, verdict: Result<Verdict>) {
        let verdict = verdict.unwrap_or_else(|error| Verdict::broken(&error));
        self.verdicts().add(&run.name, started.elapsed(), verdict);
    }

    /// Plays it once. Events that are missing because the kernel skipped programs, and counted that, are no error if
    /// twtrace reports it.
    fn watch(&self, run: &ScenarioRun, stage: StageProcess) -> Result<PlayOutcome> {
        let missed = self.trace.misses();
        match self.play_once(run, stage)? {
            PlayOutcome::Judged(Verdict::Failed { .. })
                if self.owns_up_to_misses() && self.trace.misses() > missed =>
            {
                Ok(PlayOutcome::Unlucky(
                    "the kernel skipped a program meanwhile, and counted that".to_owned(),
                ))
            }
            outcome => Ok(outcome),
        }
    }

    /// Whether something is seen through classic tracepoints or kprobes, which the kernel skips while another program
    /// runs or a map is being read on that CPU: twtrace reports this for these tiers.
    fn owns_up_to_misses(&self) -> bool {
        let questions = [Question::Port, Question::TimeWait, Question::TimeWaitEnd];
        questions.into_iter().any(|question| {
            let lost = self.facts.lost(question).unwrap_or_default();
            matches!(self.facts.tier(question), Tier::Syscall | Tier::Kprobe)
                && lost.contains("skips")
        })
    }

    fn play_once(&self, run: &ScenarioRun, mut stage: StageProcess) -> Result<PlayOutcome> {
        let truth = match stage.play()? {
            PlayResult::Played(truth) => truth,
            PlayResult::Again { reason } => return Ok(PlayOutcome::Unlucky(reason)),
            PlayResult::Skip { reason } => {
                return Ok(PlayOutcome::Judged(Verdict::Skipped { reason }));
            }
            PlayResult::Broken { error } => {
                let reported = self
                    .trace
                    .collect(stage.namespace, Duration::from_secs(1), |_| true);
                return Ok(PlayOutcome::Judged(failed(vec![error], &reported.events)));
            }
        };
        let collected = collect(&self.trace, &truth, &self.facts, &stage);
        keep(self.options, &run.name, &collected.events)?;
        let wrong = wrong(&truth, &self.facts, &collected);
        let namespace = stage.namespace;
        let ending = stage.end()?;
        if !wrong.is_empty() {
            if judge::met_listener(&truth, &collected.events) {
                return Ok(PlayOutcome::Unlucky(
                    "the kernel had the listener answer a connection's segment".to_owned(),
                ));
            }
            return Ok(PlayOutcome::Judged(failed(wrong, &collected.events)));
        }
        let births = collected.events.iter();
        let births = births.filter(|event| event["event"] == "time_wait").count();
        let verdict = judge::passed(&truth, births as u64);
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.push(Accepted {
            name: run.name.clone(),
            namespace,
            truth,
            ending,
        });
        Ok(PlayOutcome::Judged(verdict))
    }

    /// Ends the trace by SIGINT, which must be clean, without losses or unexpected messages; and checks everything that
    /// was reported once more.
    pub fn end(self) {
        let verdicts = &self.context.verdicts;
        let started = Instant::now();
        let wrong = wrong_hooks(self.context.tier, &self.facts, &self.trace.start);
        verdicts.add("trace_has_its_hooks", started.elapsed(), Verdict::of(wrong));

        let started = Instant::now();
        let programs = self.trace.programs().unwrap_or_default();
        let ended = match self.trace.end() {
            Ok(ended) => ended,
            Err(error) => {
                let verdict = Verdict::broken(&error);
                verdicts.add("trace_ends_by_sigint", started.elapsed(), verdict);
                return;
            }
        };
        let mut wrong = wrong_at_end(&ended);
        if programs.is_empty() {
            wrong.push("it held no program".to_owned());
        }
        wrong.extend(
            bpf::await_gone(&programs)
                .err()
                .map(|error| error.to_string()),
        );
        let verdict = if wrong.is_empty() {
            Verdict::Passed
        } else {
            Verdict::Failed {
                wrong,
                reported: ended.stderr.lines().map(str::to_owned).collect(),
            }
        };
        verdicts.add("trace_ends_by_sigint", started.elapsed(), verdict);

        let started = Instant::now();
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = late::judge(&accepted, &self.facts, &ended);
        verdicts.add("nothing_told_later", started.elapsed(), Verdict::of(wrong));
        drop(accepted);

        let started = Instant::now();
        let verdict = replayed::compare(self.context, ended.output);
        let verdict = verdict.unwrap_or_else(|error| Verdict::broken(&error));
        verdicts.add("replay_is_the_same", started.elapsed(), verdict);
    }
}

fn watched_by(runs: &[ScenarioRun], observer: ObservedBy) -> impl Iterator<Item = &ScenarioRun> {
    runs.iter()
        .filter(move |run| run.scenario.observer == observer)
}

fn start_stage(run: &ScenarioRun, keeper: &Mutex<Vec<File>>) -> Result<StageProcess> {
    let mut file = Vec::new();
    let stage = StageProcess::start_fenced(run.scenario.name, run.ip, &mut file);
    keeper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .append(&mut file);
    stage
}

/// The events of a scenario that was played, until its fence.
pub fn collect(trace: &Trace, played: &Played, facts: &Facts, stage: &StageProcess) -> Collected {
    // The limit applies only to events that are missing.
    let pace = if process::emulated() { 5 } else { 1 };
    let mut limit = Duration::from_secs(5) * pace;
    if facts.tier(Question::TimeWaitEnd) == Tier::Inferred {
        limit += LOOKS;
    }
    trace.collect(stage.namespace, limit, |events| {
        judge::judge_events(played, facts, events).is_empty()
    })
}

/// Differences in them.
pub fn wrong(played: &Played, facts: &Facts, collected: &Collected) -> Vec<String> {
    let mut wrong = judge::judge_events(played, facts, &collected.events);
    if !collected.is_fenced {
        wrong.push("the fence at its end was not told".to_owned());
    }
    wrong
}

fn failed(wrong: Vec<String>, events: &[Value]) -> Verdict {
    Verdict::Failed {
        wrong,
        reported: events.iter().map(Value::to_string).collect(),
    }
}

/// Differences in the hooks that a trace reports.
fn wrong_hooks(limit: TierLimit, facts: &Facts, start: &Value) -> Vec<String> {
    let answered = facts.tiers.iter();
    let mut wrong: Vec<String> = answered
        .filter(|choice| !limit.allows(choice.question, choice.tier))
        .map(|choice| {
            format!(
                "{:?} is answered by {:?} in spite of {limit:?}",
                choice.question, choice.tier
            )
        })
        .collect();
    // A kernel may lack such a hook, or not allow its use; if its verifier rejects one of our programs as wrong
    // (EACCES) or endless (E2BIG), the program is at fault.
    let start = start.to_string();
    if ["os error 13", "os error 7)"]
        .iter()
        .any(|fault| start.contains(fault))
    {
        wrong.push(format!("a program was refused: {start}"));
    }
    wrong
}

/// Errors in how a trace ended: SIGINT must end it cleanly, without losses or unexpected messages.
pub fn wrong_at_end(ended: &Ended) -> Vec<String> {
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
    wrong
}
