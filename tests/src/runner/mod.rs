//! The runner: starts twtrace and the stages, and compares.

mod budgets;
mod close_wait;
mod common_report;
mod doctor;
mod earlier;
mod judge;
mod late;
mod memory;
mod options;
mod own_trace;
mod pool;
mod recorded;
mod replay;
mod replayed;
pub mod report;
mod reported;
mod reuse;
mod selection;
pub mod stage_process;
mod storm;
mod table;
mod trace;
mod traced;
mod untraced;
mod verdicts;

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
pub use common_report::Reporting;
use common_report::Seat;
pub use options::{Options, TierLimit, selected};
pub use own_trace::{play_while_stopped, play_with_own_trace};
use replay::{PlayOutcome, REPLAYS, until_judged};
use selection::{ScenarioRun, Selection};
pub use storm::{StormSize, storm};
pub use trace::{spawn, wait};
use traced::TracedSession;
use verdicts::{Verdict, Verdicts};

use crate::{
    actor::program,
    expect::environment::KernelFacts,
    scenarios::{self, ObservedBy, Usage},
    stage::{
        self, Ip, Part, Skip, Stage,
        finding::{PlayResult, Played},
    },
    sys::{hidden_births::Recording, process},
};
use stage_process::{KERNEL_FACTS, StageProcess};

/// What a scenario or a check of usage needs.
pub struct Context {
    /// The twtrace under test.
    pub twtrace: PathBuf,
    pub tier: TierLimit,
    /// Name of what is being played.
    name: String,
    verdicts: Arc<Verdicts>,
    /// Its share in a report.
    seat: Seat,
}

impl Context {
    fn of(&self, name: &str) -> Self {
        self.with_seat(name, Seat::default())
    }

    fn with_seat(&self, name: &str, seat: Seat) -> Self {
        Self {
            twtrace: self.twtrace.clone(),
            tier: self.tier,
            name: name.to_owned(),
            verdicts: Arc::clone(&self.verdicts),
            seat,
        }
    }

    /// Prints and counts that it is played again, because of a rare behaviour of the kernel.
    pub fn again(&self, reason: &str) {
        self.verdicts.again(&self.name, reason);
    }
}

/// Runs what the command line requests; returns whether something passed and nothing failed.
///
/// # Errors
/// If it can't start to compare.
pub fn run(options: &Options) -> Result<bool> {
    if !options.program.is_empty() {
        return program::run(&options.program).map(|()| true);
    }
    if let Some(name) = &options.stage {
        return run_stage(name, options).map(|()| true);
    }
    if let Some(ground) = &options.storm_namespace {
        return crate::storm::play_namespace(ground).map(|()| true);
    }
    if options.storm {
        return storm::run(options);
    }
    let selection = Selection::of(options)?;
    if options.list {
        selection.names().for_each(|name| println!("{name}"));
        return Ok(true);
    }
    process::give_children_default_signals()?;
    let verdicts = Arc::new(Verdicts::default());
    for run in &selection.inexact {
        let reason = "the kernel skips classic tracepoints while another program runs on that CPU: \
                      no figure is exact under load";
        let verdict = Verdict::Skipped {
            reason: reason.to_owned(),
        };
        verdicts.add(&run.name, Duration::ZERO, verdict);
    }
    if selection.left_out > 0 {
        println!(
            "     {} runs that say the same on another tier, kernel or IP version are left out here",
            selection.left_out
        );
    }
    let kernel = kernel_facts(&verdicts)?;
    if options.traffic_only {
        untraced::play_all(&selection.runs, kernel, &verdicts);
        return Ok(verdicts.finish());
    }
    let context = Context {
        twtrace: options.twtrace.clone().context("no --twtrace")?,
        tier: options.tier,
        name: String::new(),
        verdicts,
        seat: Seat::default(),
    };
    play(&context, options, kernel, selection)?;
    Ok(context.verdicts.finish())
}

/// Something that has a twtrace of its own.
enum Piece<'a> {
    Scenario(&'a ScenarioRun),
    Usage(&'a Usage),
}

impl Piece<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Scenario(run) => &run.name,
            Self::Usage(usage) => usage.name,
        }
    }
}

/// First what one trace watches, while nothing else loads the machine; then what shares a recording, and what has a
/// twtrace of its own, several at a time; then what shares a report; last what needs the whole machine. Scenarios of
/// one minute run in parallel with all of it.
fn play(
    context: &Context,
    options: &Options,
    kernel: KernelFacts,
    selection: Selection,
) -> Result<()> {
    let (reported, traced): (Vec<ScenarioRun>, Vec<ScenarioRun>) =
        selection.runs.into_iter().partition(|run| {
            matches!(
                run.scenario.observer,
                ObservedBy::Report(_) | ObservedBy::Doctor(_)
            )
        });
    let (shared, reported): (Vec<ScenarioRun>, Vec<ScenarioRun>) =
        reported.into_iter().partition(recorded::is_shared);
    let scenarios = reported.iter().map(Piece::Scenario);
    let mut usages = selection.usages;
    let sharing = common_report::take(&mut usages);
    let usages = usages.into_iter().map(Piece::Usage);
    let emulated = process::emulated();
    let _earlier = earlier::begin(options.tier).context("use the tracepoints first")?;
    let (alone, together): (Vec<Piece>, Vec<Piece>) = scenarios
        .chain(usages)
        .partition(|piece| pool::is_alone(piece.name(), emulated));
    let work = |piece: Piece| play_piece(context, options, kernel, &piece);
    let threads = pool::size(options.jobs);
    let share = || recorded::play_all(context, options, kernel, &shared);
    if traced.is_empty() {
        share();
        pool::work(threads, together, Piece::name, work);
    } else {
        let (session, early) = TracedSession::start(context, options, kernel, &traced)?;
        let long = traced.iter().filter(|run| run.scenario.lasts_a_minute());
        thread::scope(|scope| {
            let session = &session;
            for run in long {
                scope.spawn(|| session.start_and_play(run));
            }
            session.play_all(&traced, early);
            share();
            pool::work(threads, together, Piece::name, work);
        });
        session.end();
    }
    common_report::play_all(context, &sharing);
    alone.into_iter().for_each(work);
    Ok(())
}

fn play_usage(context: &Context, usage: &Usage) {
    let start = Instant::now();
    let verdict = check_usage(context, usage);
    let verdict = verdict.unwrap_or_else(|error| Verdict::broken(&error));
    context.verdicts.add(usage.name, start.elapsed(), verdict);
}

fn play_piece(context: &Context, options: &Options, kernel: KernelFacts, piece: &Piece) {
    let context = &context.of(piece.name());
    let run = match piece {
        Piece::Scenario(run) => run,
        Piece::Usage(usage) => return play_usage(context, usage),
    };
    let start = Instant::now();
    let verdict = play_alone(context, options, kernel, run);
    let verdict = verdict.unwrap_or_else(|error| Verdict::broken(&error));
    context.verdicts.add(piece.name(), start.elapsed(), verdict);
}

/// Plays a scenario with a report or doctor of its own.
fn play_alone(
    context: &Context,
    options: &Options,
    kernel: KernelFacts,
    run: &ScenarioRun,
) -> Result<Verdict> {
    match run.scenario.observer {
        ObservedBy::Doctor(wanted) => doctor::play(context, options, run, wanted),
        _ => reported::play(context, options, kernel, run),
    }
}

/// Checks also count reported events: a failure does not count at once if something was hidden from all programs.
fn check_usage(context: &Context, usage: &Usage) -> Result<Verdict> {
    // A storm knows what was hidden from it. Played again, it would be a different one.
    let judges_hidden = usage.name.starts_with("storm/");
    let hidden = (!judges_hidden).then(Recording::begin).flatten();
    until_judged(&context.name, hidden.as_ref(), &context.verdicts, || {
        Ok(PlayOutcome::Judged(match (usage.run)(context) {
            Ok(()) => Verdict::Passed,
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(skip) => Verdict::Skipped {
                    reason: skip.0.clone(),
                },
                None => Verdict::broken(&error),
            },
        }))
    })
}

/// Main function of a stage's process.
fn run_stage(name: &str, options: &Options) -> Result<()> {
    let ip = options.ip.into();
    if name == KERNEL_FACTS {
        return stage::run(ip, Part::default(), one_birth);
    }
    let scenario = scenarios::all()
        .into_iter()
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("no scenario {name}"))?;
    let part = Part {
        prepares: match scenario.observer {
            ObservedBy::TraceFromTheMiddle => true,
            ObservedBy::Doctor(run) => run.is_from_the_middle,
            _ => false,
        },
        is_fenced: options.fenced,
    };
    stage::run(ip, part, scenario.play)
}

/// Creates one TIME_WAIT, to see whether the kernel counts it now or when it expires.
fn one_birth(stage: &Stage) -> Result<()> {
    let pair = stage.silent_pair()?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)
}

fn kernel_facts(verdicts: &Verdicts) -> Result<KernelFacts> {
    let mut keeper = Vec::new();
    let (_, played) = until_played(
        |reason| verdicts.again(KERNEL_FACTS, reason),
        || StageProcess::start(KERNEL_FACTS, Ip::V4, &mut keeper),
    )?;
    Ok(KernelFacts {
        reset_reasons: false,
        counts_births: played.counters.births() == 1,
    })
}

/// Plays on a stage, and again on a new one whenever the kernel behaved in a rare way.
///
/// # Errors
/// If it can't be played, or the behaviour is not so rare; a [`Skip`] if it can't be played here.
pub fn play_until_lucky(
    context: &Context,
    start: impl FnMut() -> Result<StageProcess>,
) -> Result<(StageProcess, Box<Played>)> {
    until_played(|reason| context.again(reason), start)
}

fn until_played(
    again: impl Fn(&str),
    mut start: impl FnMut() -> Result<StageProcess>,
) -> Result<(StageProcess, Box<Played>)> {
    let mut rare = String::new();
    for tries in 0..=REPLAYS {
        if tries > 0 {
            again(&rare);
        }
        let mut stage = start()?;
        match stage.play()? {
            PlayResult::Played(played) => return Ok((stage, played)),
            PlayResult::Skip { reason } => bail!(Skip(reason)),
            PlayResult::Broken { error } => bail!("{error}"),
            PlayResult::Again { reason } => rare = reason,
        }
    }
    bail!("{rare}, in {} tries", REPLAYS + 1)
}

/// Writes what twtrace reported about a scenario to the directory that the user chose.
fn keep(options: &Options, name: &str, values: &[serde_json::Value]) -> Result<()> {
    let Some(directory) = &options.keep else {
        return Ok(());
    };
    std::fs::create_dir_all(directory)?;
    let path = directory.join(format!("{}.json", name.replace('/', "-")));
    let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
    std::fs::write(&path, lines).with_context(|| format!("write {}", path.display()))
}
