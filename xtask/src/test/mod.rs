//! `cargo xtask test`: all checks, in phases. A phase that fails does not hide the others.

mod guests;
mod phases;
mod scenarios;
mod summary;

use std::{num::NonZero, process::ExitCode, thread, time::Duration};

use anyhow::Result;
use clap::Args;

use crate::{
    guest::{
        Accelerator,
        boot::Limits,
        kernels::{self, KernelSource, SERIES, Series},
    },
    workspace::Workspace,
};
use phases::Phases;

/// Options of `cargo xtask test`.
#[derive(Args)]
pub struct TestArgs {
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
    #[command(flatten)]
    source: KernelSource,
    /// What runs the guests' code (default: KVM where it works)
    #[arg(long, value_name = "WHAT")]
    accel: Option<Accelerator>,
    /// Minutes each guest may take
    #[arg(long, value_name = "MINUTES", default_value_t = 25)]
    guest_timeout: u64,
    /// Guests that run at a time (default: one for each CPU, four at most)
    #[arg(long, value_name = "N", conflicts_with = "no_guests")]
    jobs: Option<NonZero<usize>>,
}

/// Guests that run at a time where the user does not say: each has 1.5 GB.
const MAX_JOBS: usize = 4;

/// What a guest may take for its slowest scenario, which waits for a TIME_WAIT's 60 s to pass.
const GUEST_SILENCE: Duration = Duration::from_secs(180);

impl TestArgs {
    fn series(&self) -> Result<Vec<&'static Series>> {
        if self.no_guests {
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

    /// Whether no guest was left out.
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
/// For wrong arguments only: what fails in a phase is in the table.
pub fn verb(workspace: &Workspace, args: &TestArgs) -> Result<ExitCode> {
    let series = args.series()?;
    let mut phases = Phases::default();
    if !args.guests_only {
        phases.checks(workspace);
    }
    if let Some(binaries) = phases.build(workspace) {
        if !args.guests_only {
            phases.machine(&binaries, args.only.as_deref());
        }
        phases.guests(workspace, &series, &binaries, args);
        if !args.guests_only && args.only.is_none() {
            phases.packages(workspace, &binaries, args.boots_all());
        }
    }
    print!("{}", summary::table(phases.results()));
    Ok(
        if phases.results().iter().all(summary::PhaseResult::is_well) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        },
    )
}
