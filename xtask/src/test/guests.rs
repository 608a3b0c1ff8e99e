//! One guest of a test run, booted again if it dies.

use std::time::Instant;

use anyhow::{Result, bail};

use super::{
    TestArgs, console,
    machine::arguments,
    plan::{GUEST_TIERS, Unit},
    result::{Numbers, PhaseResult, PhaseVerdict, judge},
    scenarios::{RunnerOutput, TierLimit},
};
use crate::{
    build::Binaries,
    guest::{
        self, Accelerator,
        boot::{self, Guest},
        kernels::{self, GuestKernel, KernelSeries},
        tools,
    },
    workspace::Workspace,
};

/// How often to boot a guest that dies or hangs, as emulated ones do now and then; finished results are kept.
const BOOTS: u32 = 4;

/// What guests need.
#[derive(Clone, Copy)]
pub struct Guests<'a> {
    /// Workspace with their files.
    pub workspace: &'a Workspace,
    /// Programs that they run.
    pub binaries: &'a Binaries,
    /// Options of the test run.
    pub args: &'a TestArgs,
}

impl Guests<'_> {
    /// One kernel, with the scenarios of all tiers: a result for the guest, and one for each tier.
    pub fn play(&self, series: &'static KernelSeries) -> Vec<PhaseResult> {
        let unit = Unit::Kernel(series);
        println!("\n==== {} ====", unit.name());
        let begun = Instant::now();
        let mut played = Played::default();
        let verdict = match self.boot_until_played(series, &mut played) {
            Ok(()) => PhaseVerdict::Well,
            Err(error) => {
                println!("[{}] error: {error:#}", unit.tag());
                PhaseVerdict::Failed(format!("{error:#}"))
            }
        };
        let numbers = match (&self.args.only, played.accelerator) {
            (Some(_), _) => Numbers::Any,
            // The runner plays more if it is not emulated.
            (None, Some(Accelerator::Kvm)) => Numbers::AtLeast,
            (None, _) => Numbers::Same,
        };
        let guest = PhaseResult::new(&unit.name(), begun.elapsed(), verdict);
        let mut results = vec![guest];
        results.extend(
            played
                .tiers
                .into_iter()
                .zip(GUEST_TIERS)
                .map(|(tier, limit)| PhaseResult {
                    took: tier.end.took(),
                    numbers,
                    ..PhaseResult::new(
                        &unit.tier(limit),
                        begun.elapsed(),
                        judge(tier.outcome, tier.end.code()),
                    )
                }),
        );
        let is_well = results.iter().all(PhaseResult::has_worked);
        console::end(&unit.name(), is_well, begun.elapsed());
        results
    }

    /// A guest of its own, with these scenarios of one tier, each in a run of its own: returns the result of each.
    ///
    /// # Errors
    /// If the guest can't be started, or dies.
    pub fn play_each(
        &self,
        series: &KernelSeries,
        tier: TierLimit,
        names: &[&str],
    ) -> Result<Vec<PhaseVerdict>> {
        let kernel = kernels::obtain(self.workspace, series, &self.args.source)?;
        let commands: Vec<_> = names.iter().map(|name| command(tier, Some(name))).collect();
        let mut outcomes = vec![RunnerOutput::default(); commands.len()];
        let limits = self.args.guest_limits();
        let report = self
            .guest(&kernel)
            .run(&commands, limits, &mut |command, line| {
                println!("[{}] {line}", series.name);
                outcomes[command].take(line);
            })?;
        if let Some(trouble) = report.trouble {
            bail!("{trouble}");
        }
        let ends = report.outcomes.into_iter().map(|end| end.code());
        Ok(outcomes
            .into_iter()
            .zip(ends)
            .map(|(outcome, code)| judge(outcome, code))
            .collect())
    }

    fn guest<'b>(&'b self, kernel: &'b GuestKernel) -> Guest<'b> {
        Guest {
            workspace: self.workspace,
            kernel,
            binaries: self.binaries,
            accelerator: self.args.accel,
            cpus: guest::CPUS,
            programs: tools::guest_programs().collect(),
            other: None,
        }
    }

    fn boot_until_played(&self, series: &KernelSeries, played: &mut Played) -> Result<()> {
        let kernel = kernels::obtain(self.workspace, series, &self.args.source)?;
        let guest = self.guest(&kernel);
        for boot in 1..=BOOTS {
            let left = played.left();
            let commands: Vec<_> = left
                .iter()
                .map(|&tier| {
                    played.tiers[tier].outcome = RunnerOutput::default();
                    command(GUEST_TIERS[tier], self.args.only.as_deref())
                })
                .collect();
            let report = guest.run(&commands, self.args.guest_limits(), &mut |command, line| {
                println!("[{}] {line}", series.name);
                played.tiers[left[command]].outcome.take(line);
            })?;
            println!("[{}] kept in {}", series.name, report.console_log.display());
            played.accelerator = Some(report.accelerator);
            for (&tier, end) in left.iter().zip(report.outcomes) {
                played.tiers[tier].end = end;
            }
            match report.trouble {
                None => break,
                Some(trouble) if boot == BOOTS => bail!("{trouble}"),
                Some(trouble) => println!(
                    "[{}] {trouble}; booting it again for what it has not ended",
                    series.name
                ),
            }
        }
        Ok(())
    }
}

/// Progress of a kernel's tiers.
#[derive(Default)]
struct Played {
    tiers: [PlayedTier; GUEST_TIERS.len()],
    accelerator: Option<Accelerator>,
}

struct PlayedTier {
    outcome: RunnerOutput,
    end: boot::CommandEnd,
}

impl Default for PlayedTier {
    fn default() -> Self {
        Self {
            outcome: RunnerOutput::default(),
            end: boot::CommandEnd::Unfinished,
        }
    }
}

impl Played {
    /// Indices of the unfinished tiers.
    fn left(&self) -> Vec<usize> {
        (0..self.tiers.len())
            .filter(|&tier| self.tiers[tier].end == boot::CommandEnd::Unfinished)
            .collect()
    }
}

fn command(tier: TierLimit, only: Option<&str>) -> String {
    let only = only.map(|glob| format!("'{glob}'"));
    let options = arguments(tier, only.as_deref()).join(" ");
    format!("scenarios --twtrace /bin/twtrace {options}")
}
