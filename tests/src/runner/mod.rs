//! The runner: starts twtrace and the stages, and judges.

mod budgets;
mod close_wait;
mod doctor;
mod judge;
mod memory;
mod options;
mod own_trace;
mod replay;
pub mod report;
mod reported;
mod reuse;
pub mod stage_process;
mod table;
mod trace;
mod traced;
mod verdicts;

use std::{
    fs::File,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
pub use options::{Options, TierLimit};
pub use own_trace::play_with_own_trace;
pub use trace::wait;
use verdicts::{Verdict, Verdicts};

use crate::{
    actor::program,
    expect::facts::KernelFacts,
    scenarios::{self, Observer, Reach, Scenario, Usage},
    stage::{self, Ip, Skip, Stage, finding::Finding},
    sys::process,
};
use stage_process::{KERNEL_FACTS, StageProcess};

/// What checks of usage need to know.
pub struct Context {
    /// The twtrace to be tested.
    pub twtrace: PathBuf,
    /// Hooks it may use.
    pub tier: TierLimit,
}

/// One run of a scenario.
#[derive(Clone)]
struct Run {
    name: String,
    ip: Ip,
    scenario: Scenario,
}

fn runs_of(options: &Options) -> Vec<Run> {
    let mut runs = Vec::new();
    for scenario in scenarios::all() {
        for (name, ip) in scenario.runs() {
            if options::selected(&options.only, &name) {
                runs.push(Run { name, ip, scenario });
            }
        }
    }
    runs
}

/// Does what the command line says; whether nothing failed.
///
/// # Errors
/// When it can't get so far as to judge anything.
pub fn run(options: &Options) -> Result<bool> {
    if !options.program.is_empty() {
        return program::run(&options.program).map(|()| true);
    }
    if let Some(name) = &options.stage {
        return run_stage(name, options.ip.into()).map(|()| true);
    }
    let runs = runs_of(options);
    let usages: Vec<(&Usage, Reach)> = scenarios::usages()
        .filter(|(usage, _)| options::selected(&options.only, usage.name))
        .collect();
    if options.list {
        for run in &runs {
            println!("{}", run.name);
        }
        for (usage, _) in usages {
            println!("{}", usage.name);
        }
        return Ok(true);
    }
    let verdicts = Verdicts::default();
    let (runs, inexact): (Vec<Run>, Vec<Run>) = runs
        .into_iter()
        .partition(|run| options.tier != TierLimit::Classic || !run.scenario.is_crowded());
    for run in inexact {
        let reason = "the kernel skips classic tracepoints while another program runs on that CPU: \
                      no figure is exact under load";
        verdicts.add(
            &run.name,
            Duration::ZERO,
            Verdict::Skipped {
                reason: reason.to_owned(),
            },
        );
    }
    let (runs, usages) = without_repetitions(options, runs, usages);
    let mut keeper = Vec::new();
    let kernel = kernel_facts(&mut keeper)?;
    if options.traffic_only {
        for run in &runs {
            let start = Instant::now();
            let verdict = play_untraced(run, kernel, &mut keeper);
            verdicts.add(&run.name, start.elapsed(), verdict);
        }
        return Ok(verdicts.finish());
    }
    let twtrace = options.twtrace.clone().context("no --twtrace")?;
    let context = Context {
        twtrace,
        tier: options.tier,
    };
    let (reported, traced): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|run| {
        matches!(
            run.scenario.observer,
            Observer::Report(_) | Observer::Doctor(_)
        )
    });
    if !traced.is_empty() {
        let keeper = Mutex::new(keeper);
        traced::play_all(&context, options, kernel, &traced, &keeper, &verdicts)?;
    }
    for run in &reported {
        let start = Instant::now();
        let played = match run.scenario.observer {
            Observer::Doctor(doctor_run) => doctor::play(&context, options, run, doctor_run),
            _ => reported::play(&context, options, kernel, run),
        };
        let verdict = played.unwrap_or_else(|error| Verdict::broken(&error));
        verdicts.add(&run.name, start.elapsed(), verdict);
    }
    for usage in usages {
        let start = Instant::now();
        let verdict = match (usage.run)(&context) {
            Ok(()) => Verdict::Passed,
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(skip) => Verdict::Skipped {
                    reason: skip.0.clone(),
                },
                None => Verdict::broken(&error),
            },
        };
        verdicts.add(usage.name, start.elapsed(), verdict);
    }
    Ok(verdicts.finish())
}

/// What is the same on every tier is played on the best one only where it takes long, unless it is asked for:
/// each of these has a twtrace of its own, and attaching takes seconds in an emulated machine.
fn without_repetitions(
    options: &Options,
    runs: Vec<Run>,
    usages: Vec<(&'static Usage, Reach)>,
) -> (Vec<Run>, Vec<&'static Usage>) {
    let (tier, emulated) = (options.tier, process::emulated());
    let is_asked_for = !options.only.is_empty();
    let all = runs.len() + usages.len();
    let runs: Vec<Run> = runs
        .into_iter()
        .filter(|run| is_asked_for || is_worth_it(run, tier, emulated))
        .collect();
    let usages: Vec<&Usage> = usages
        .into_iter()
        .filter(|(usage, reach)| is_asked_for || reaches(usage, *reach, tier, emulated))
        .map(|(usage, _)| usage)
        .collect();
    let left_out = all - runs.len() - usages.len();
    if left_out > 0 {
        println!(
            "     {left_out} runs of scenarios that say the same on every tier or with both IP versions are left out here"
        );
    }
    (runs, usages)
}

/// Checks of usage that are played in emulated machines too, beside those of every tier: what another kernel may
/// do otherwise. Each starts a twtrace of its own.
const IN_GUESTS: &[&str] = &[
    "command/only_its_own",
    "command/orphaned_grandchild",
    "command/child_of_thread",
    "command/too_many_descendants",
    "containers/v1_alone",
    "stacks/frame_pointers",
    "stacks/tables_only",
    "stacks/rust",
    "recordings/report_is_the_same",
    "schema/outputs",
];

fn reaches(usage: &Usage, reach: Reach, tier: TierLimit, emulated: bool) -> bool {
    let is_best = tier == TierLimit::Best;
    match reach {
        Reach::EveryTier => true,
        _ if emulated => is_best && IN_GUESTS.contains(&usage.name),
        Reach::Tracepoints => is_best || tier == TierLimit::Classic,
        Reach::BestTier => is_best,
    }
}

fn is_worth_it(run: &Run, tier: TierLimit, emulated: bool) -> bool {
    let is_best = tier == TierLimit::Best;
    if run.scenario.is_of_userspace() {
        return match emulated {
            true => is_best && run.ip == Ip::V4,
            // The classic tier has the best one's events, by other hooks for states.
            false => tier != TierLimit::Classic,
        };
    }
    let has_own_report = matches!(run.scenario.observer, Observer::Report(_));
    !emulated || is_best || run.ip == Ip::V4 || !has_own_report
}

/// The body of a stage's process.
fn run_stage(name: &str, ip: Ip) -> Result<()> {
    if name == KERNEL_FACTS {
        return stage::run(ip, false, one_birth);
    }
    let scenario = scenarios::all()
        .into_iter()
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("no scenario {name}"))?;
    let prepares = scenario.observer == Observer::TraceFromTheMiddle;
    stage::run(ip, prepares, scenario.play)
}

/// One TIME_WAIT, to see whether the kernel counts it now or when it expires.
fn one_birth(stage: &Stage) -> Result<()> {
    let pair = stage.silent_pair()?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)
}

/// How often something is played again that took a rare way.
const REPLAYS: u32 = 2;

fn kernel_facts(keeper: &mut Vec<File>) -> Result<KernelFacts> {
    for _ in 0..=REPLAYS {
        let mut stage = StageProcess::start(KERNEL_FACTS, Ip::V4, keeper)?;
        match stage.play()? {
            Finding::Played(played) => {
                return Ok(KernelFacts {
                    reset_reasons: false,
                    counts_births: played.counters.births() == 1,
                });
            }
            Finding::Again { reason } => println!("     {reason}; asking the kernel again"),
            Finding::Skip { reason } => bail!("{reason}"),
            Finding::Broken { error } => bail!("{error}"),
        }
    }
    bail!(
        "the kernel did not tell what it counts: no plain close in {} tries",
        REPLAYS + 1
    )
}

fn play_untraced(run: &Run, kernel: KernelFacts, keeper: &mut Vec<File>) -> Verdict {
    let finding =
        StageProcess::start(run.scenario.name, run.ip, keeper).and_then(|mut stage| stage.play());
    match finding {
        Err(error) => Verdict::broken(&error),
        Ok(Finding::Broken { error }) => Verdict::Failed {
            wrong: vec![error],
            told: Vec::new(),
        },
        Ok(Finding::Again { reason } | Finding::Skip { reason }) => Verdict::Skipped { reason },
        Ok(Finding::Played(played)) => {
            let wrong = judge::judge_traffic(&played, kernel.counts_births);
            if wrong.is_empty() {
                Verdict::Passed
            } else {
                Verdict::Failed {
                    wrong,
                    told: Vec::new(),
                }
            }
        }
    }
}

/// Writes what was said about a scenario to the directory that the user named.
fn keep(options: &Options, name: &str, values: &[serde_json::Value]) -> Result<()> {
    let Some(directory) = &options.keep else {
        return Ok(());
    };
    std::fs::create_dir_all(directory)?;
    let path = directory.join(format!("{}.json", name.replace('/', "-")));
    let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
    std::fs::write(&path, lines).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scenario_is_played_with_both_versions_somewhere() {
        let played = |tier, emulated| {
            let runs = scenarios::all().into_iter().flat_map(|scenario| {
                let runs = scenario.runs().into_iter();
                runs.map(move |(name, ip)| Run { name, ip, scenario })
            });
            runs.filter(|run| is_worth_it(run, tier, emulated)).count()
        };
        let all = played(TierLimit::Best, false);
        assert_eq!(played(TierLimit::Inferred, false), all);
        assert!(played(TierLimit::Classic, false) < all);
        assert!(played(TierLimit::Best, true) < all);
        assert!(played(TierLimit::NoFentry, true) < played(TierLimit::Best, true));
    }

    #[test]
    fn what_is_played_in_guests_exists() {
        for name in IN_GUESTS {
            assert!(
                scenarios::usages().any(|(usage, _)| usage.name == *name),
                "{name}"
            );
        }
    }

    #[test]
    fn the_scenarios_of_documented_experiments_exist() {
        let index = include_str!("../../../docs/experiments/README.md");
        let rows = index.lines().filter(|line| line.starts_with("| ["));
        let patterns: Vec<_> = rows.filter_map(|row| row.split('`').nth_back(1)).collect();
        assert_eq!(patterns.len(), 10);
        for pattern in patterns {
            let pattern = [pattern.to_owned()];
            let mut names = scenarios::all().into_iter().map(|scenario| scenario.name);
            assert!(
                names.any(|name| options::selected(&pattern, name)),
                "{pattern:?}"
            );
        }
    }
}
