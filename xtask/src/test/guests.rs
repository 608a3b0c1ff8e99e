//! The guests of a test run: several at a time, each booted again when it dies.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Result, bail};

use super::{
    TestArgs,
    phases::{arguments, judge},
    scenarios::{Outcome, Tier},
    summary::{PhaseResult, Verdict},
};
use crate::{
    build::Binaries,
    guest::{
        boot::{self, Guest},
        kernels::{self, Series},
        tools,
    },
    workspace::Workspace,
};

/// On stock kernels, in one boot.
const TIERS: [Tier; 3] = [Tier::Best, Tier::NoFentry, Tier::Tracepoints];

/// How often a guest is booted that dies or stands still, as emulated ones do now and then; what had ended by
/// then stands.
const BOOTS: u32 = 4;

/// What the guests are made of.
pub struct Guests<'a> {
    /// Where their files are.
    pub workspace: &'a Workspace,
    /// What runs in them.
    pub binaries: &'a Binaries,
    /// Options of the test run.
    pub args: &'a TestArgs,
}

impl Guests<'_> {
    /// Boots a guest for each series, as many at a time as the options say. The results are in the order of
    /// the series, a line for each and one for each of its tiers.
    pub fn run(&self, series: &[&'static Series]) -> Vec<PhaseResult> {
        let waiting = Mutex::new(series.iter().enumerate());
        let ended = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.args.jobs().min(series.len()) {
                scope.spawn(|| {
                    loop {
                        let next = waiting
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .next();
                        let Some((index, series)) = next else { return };
                        let results = self.kernel(series);
                        ended
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((index, results));
                    }
                });
            }
        });
        let mut ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        ended.sort_by_key(|(index, _)| *index);
        ended.into_iter().flat_map(|(_, results)| results).collect()
    }

    /// One kernel, with the scenarios in all tiers.
    fn kernel(&self, series: &Series) -> Vec<PhaseResult> {
        let name = format!("kernel {}", series.name);
        println!("==== {name} ====");
        let begun = Instant::now();
        let mut played = Played::default();
        let verdict = match self.boot_until_played(series, &mut played) {
            Ok(()) => Verdict::Well,
            Err(error) => {
                println!("[{}] error: {error:#}", series.name);
                Verdict::Failed(format!("{error:#}"))
            }
        };
        let took = begun.elapsed();
        println!("==== {name}: ended in {:.1} s", took.as_secs_f64());
        let mut results = vec![PhaseResult {
            name: name.clone(),
            took: Some(took),
            verdict,
        }];
        results.extend(
            played
                .tiers
                .into_iter()
                .zip(TIERS)
                .map(|(tier, limit)| PhaseResult {
                    name: format!("{name} {}", limit.name()),
                    took: tier.end.took(),
                    verdict: judge(tier.outcome, tier.end.code()),
                }),
        );
        results
    }

    fn boot_until_played(&self, series: &Series, played: &mut Played) -> Result<()> {
        let kernel = kernels::obtain(self.workspace, series, &self.args.source)?;
        let guest = Guest {
            workspace: self.workspace,
            kernel: &kernel,
            binaries: self.binaries,
            accelerator: self.args.accel,
            programs: tools::guest_programs().collect(),
        };
        for boot in 1..=BOOTS {
            let left = played.left();
            let commands: Vec<_> = left
                .iter()
                .map(|&tier| {
                    played.tiers[tier].outcome = Outcome::default();
                    command(TIERS[tier], self.args.only.as_deref())
                })
                .collect();
            let report = guest.run(&commands, self.args.guest_limits(), &mut |command, line| {
                println!("[{}] {line}", series.name);
                played.tiers[left[command]].outcome.take(line);
            })?;
            println!("[{}] kept in {}", series.name, report.console_log.display());
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

/// How far a kernel's tiers have come.
#[derive(Default)]
struct Played {
    tiers: [PlayedTier; TIERS.len()],
}

struct PlayedTier {
    outcome: Outcome,
    end: boot::Outcome,
}

impl Default for PlayedTier {
    fn default() -> Self {
        Self {
            outcome: Outcome::default(),
            end: boot::Outcome::Unfinished,
        }
    }
}

impl Played {
    /// Indices of the tiers that have not ended.
    fn left(&self) -> Vec<usize> {
        (0..self.tiers.len())
            .filter(|&tier| self.tiers[tier].end == boot::Outcome::Unfinished)
            .collect()
    }
}

fn command(tier: Tier, only: Option<&str>) -> String {
    let only = only.map(|glob| format!("'{glob}'"));
    let options = arguments(tier, only.as_deref()).join(" ");
    format!("scenarios --twtrace /bin/twtrace {options}")
}
