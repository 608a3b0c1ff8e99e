//! `cargo xtask test`: all checks, in phases. A phase that fails does not hide the others.

mod building;
mod console;
mod dependencies;
mod expected;
mod guests;
mod jobs;
mod machine;
mod packages;
mod plan;
mod result;
pub mod scenarios;
mod shard;
mod steadiness;
mod summary;
mod units;

use std::{
    num::NonZero,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;

use self::{
    building::Ready,
    expected::ExpectedNumbers,
    guests::Guests,
    jobs::{Job, Lane},
    plan::{MachineTiers, TestSelection, Unit},
    result::{Numbers, PhaseResult},
    scenarios::ScenarioCounts,
    shard::Shard,
};
use crate::{
    build::Binaries,
    guest::{
        Accelerator,
        boot::Limits,
        kernels::{self, KernelSeries, KernelSource, SERIES},
    },
    mutations::{self, BreakArgs},
    process::output,
    workspace::Workspace,
};

/// Options of `cargo xtask test`.
#[derive(Args)]
pub struct TestArgs {
    /// Only format, lints, unit tests, and this machine's best tier: for the edit loop
    #[arg(long, conflicts_with_all = ["no_guests", "guests_only", "kernel", "shard"])]
    quick: bool,
    /// Do not boot virtual machines
    #[arg(long)]
    no_guests: bool,
    /// Only boot virtual machines
    #[arg(long, conflicts_with = "no_guests")]
    guests_only: bool,
    /// Boot only this kernel series (repeatable; default: all)
    #[arg(long, value_name = "SERIES", conflicts_with = "no_guests")]
    kernel: Vec<String>,
    /// Run only scenarios whose name matches
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
    /// Run only the K-th of N shares of the phases
    #[arg(long, value_name = "K/N", conflicts_with = "only")]
    shard: Option<Shard>,
    /// Write the numbers of this run to tests/expected.toml, if all of it is well
    #[arg(long, conflicts_with = "only")]
    update_expected: bool,
    #[command(flatten)]
    breaking: BreakArgs,
    #[command(flatten)]
    source: KernelSource,
    /// What runs the guests' code (default: KVM where it works)
    #[arg(long, value_name = "WHAT")]
    accel: Option<Accelerator>,
    /// Minutes each guest may take
    #[arg(long, value_name = "MINUTES", default_value_t = 40)]
    guest_timeout: u64,
    /// Guests that run at a time, beside what runs on this machine (default: one for each CPU, four at most)
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
}

/// Default for the number of guests at the same time: each has 1.5 GB.
const MAX_JOBS: usize = 4;

/// Time limit of a guest for its slowest scenario, which waits 60 s for the end of a TIME_WAIT.
const GUEST_SILENCE: Duration = Duration::from_secs(180);

impl TestArgs {
    fn series(&self) -> Result<Vec<&'static KernelSeries>> {
        if self.no_guests || self.quick {
            return Ok(Vec::new());
        }
        if self.kernel.is_empty() {
            return Ok(SERIES.iter().collect());
        }
        self.kernel
            .iter()
            .map(|name| kernels::series(name))
            .collect()
    }

    fn units(&self) -> Result<Vec<Unit>> {
        let selection = TestSelection {
            checks: !self.guests_only,
            machine: match (self.guests_only, self.quick) {
                (true, _) => MachineTiers::None,
                (false, true) => MachineTiers::Best,
                (false, false) => MachineTiers::All,
            },
            kernels: self.series()?,
            packages: !self.guests_only && !self.quick && self.only.is_none(),
        };
        let units = selection.units();
        match self.shard {
            Some(shard) => shard.of(units),
            None => Ok(units),
        }
    }

    /// Whether all guests are included.
    fn boots_all(&self) -> bool {
        !self.no_guests && self.kernel.is_empty()
    }

    fn guest_limits(&self) -> Limits {
        Limits {
            whole: Duration::from_secs(self.guest_timeout.saturating_mul(60)),
            silence: Some(GUEST_SILENCE),
        }
    }

    fn jobs(&self) -> usize {
        let cpus = || thread::available_parallelism().map_or(1, NonZero::get);
        self.jobs.map_or_else(|| cpus().min(MAX_JOBS), NonZero::get)
    }
}

/// Runs all phases and prints a table of them; exits with 1 if any failed.
///
/// # Errors
/// For wrong arguments, or an unreadable `tests/expected.toml`: failures of phases are in the table.
pub fn verb(workspace: &Workspace, args: &TestArgs) -> Result<ExitCode> {
    if args.breaking.is_asked {
        let options = mutations::Options {
            only: args.only.as_deref(),
            source: &args.source,
            accelerator: args.accel,
            limits: args.guest_limits(),
        };
        return mutations::verb(workspace, &args.breaking, &options);
    }
    let begun = Instant::now();
    let units = args.units()?;
    let expected = ExpectedNumbers::read(workspace)?;
    let release = output(Command::new("uname").arg("-r"))?.trim().to_owned();
    let mut results = Vec::new();
    let ready = building::prepare(workspace, &units, &mut results);
    let on_machine = match args.only {
        Some(_) => Numbers::Any,
        None => expected.on_machine(&release),
    };
    let run = Run {
        workspace,
        args,
        ready: &ready,
        on_machine,
    };
    let jobs = units.iter().map(|unit| run.job(unit)).collect();
    results.extend(jobs::run(jobs, args.jobs()));
    if args.only.is_none() {
        steadiness::play_failed_again(&run, &units, &mut results);
    }
    for result in &mut results {
        result.faults.extend(expected.wrong_skips(result));
        if !args.update_expected {
            result.faults.extend(expected.wrong_numbers(result));
        }
    }
    if let Some(glob) = &args.only {
        results.extend(nothing_matched(glob, &results));
    }
    if args.update_expected {
        results.push(updated(workspace, &results, &release));
    }
    print!("{}", summary::text(&results, begun.elapsed()));
    Ok(if results.iter().all(PhaseResult::is_well) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What all jobs of a run share.
#[derive(Clone, Copy)]
struct Run<'a> {
    workspace: &'a Workspace,
    args: &'a TestArgs,
    ready: &'a Ready,
    on_machine: Numbers,
}

impl<'a> Run<'a> {
    fn job(self, unit: &'a Unit) -> Job<'a> {
        let lane = match unit {
            // It installs a package here, and the package's service attaches.
            Unit::Machine(_) | Unit::Packages => Lane::Machine,
            Unit::Checks | Unit::Kernel(_) => Lane::Busy,
        };
        Job {
            lane,
            weight: unit.weight(),
            work: Box::new(move || self.play(unit)),
        }
    }

    fn play(&self, unit: &Unit) -> Vec<PhaseResult> {
        let name = unit.name();
        let only = self.args.only.as_deref();
        match (unit, &self.ready.binaries) {
            (Unit::Checks, _) => vec![building::unit_tests(self.workspace, self.ready)],
            (Unit::Packages, _) => packages::test(self.args.boots_all()),
            (_, None) => vec![PhaseResult::not_run(&name, "the build failed")],
            (Unit::Machine(_), _) if !self.ready.has_traffic_programs => {
                vec![PhaseResult::not_run(&name, "programs are missing")]
            }
            (Unit::Machine(tier), Some(binaries)) => {
                vec![machine::play(unit, *tier, binaries, only, self.on_machine)]
            }
            (Unit::Kernel(_), _) if !self.ready.boots_guests => {
                vec![PhaseResult::not_run(&name, "programs are missing")]
            }
            (Unit::Kernel(series), Some(binaries)) => self.guests(binaries).play(series),
        }
    }

    fn guests(&self, binaries: &'a Binaries) -> Guests<'a> {
        Guests {
            workspace: self.workspace,
            binaries,
            args: self.args,
        }
    }
}

/// A glob that matches nothing in one phase may match in another; one that matches nothing at all is a mistake.
fn nothing_matched(glob: &str, results: &[PhaseResult]) -> Option<PhaseResult> {
    let sum = results
        .iter()
        .filter_map(PhaseResult::counts)
        .fold(ScenarioCounts::default(), ScenarioCounts::and);
    let why = match (sum.passed + sum.failed, sum.skipped) {
        (0, 0) => "it matches no scenario in any phase",
        (0, _) => "all scenarios that it matches were skipped",
        _ => return None,
    };
    let mut result = PhaseResult::not_run(&format!("--only {glob}"), why);
    result.faults.push(why.to_owned());
    Some(result)
}

fn updated(workspace: &Workspace, results: &[PhaseResult], release: &str) -> PhaseResult {
    let work = || expected::update(workspace, results, release);
    let (result, changed) = console::phase("update", |_| result::PhaseVerdict::Well, work);
    if let Some(changed) = changed {
        println!("{changed} lines have changed: look at the difference before it is committed");
    }
    result
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test::result::{PhaseVerdict, tests::outcome};

    fn phase(line: &[&str]) -> PhaseResult {
        PhaseResult::new("x", Duration::ZERO, PhaseVerdict::Scenarios(outcome(line)))
    }

    #[test]
    fn a_glob_has_to_match_somewhere() {
        let none = || phase(&["0 passed, 0 failed, 0 skipped"]);
        let one = || phase(&["1 passed, 0 failed, 0 skipped"]);
        let skip = || phase(&["SKIP a: b", "0 passed, 0 failed, 1 skipped"]);
        assert!(nothing_matched("g", &[none(), one()]).is_none());
        assert!(nothing_matched("g", &[skip(), one()]).is_none());
        assert!(nothing_matched("g", &[none(), none()]).is_some_and(|result| !result.is_well()));
        assert!(nothing_matched("g", &[none(), skip()]).is_some());
        assert!(nothing_matched("g", &[]).is_some());
    }
}
