//! `cargo xtask storm`: random lives of connections, here or in a guest, for any time.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Args;

use crate::{
    build::{self, Binaries, Parts, Profile},
    guest::{
        self, Accelerator,
        boot::{Guest, Limits},
        kernels::{self, KernelSource},
        tools,
    },
    run::as_root,
    vm,
    workspace::Workspace,
};

/// Options of `cargo xtask storm`.
#[derive(Args)]
pub struct StormArgs {
    /// Boot a guest with this kernel series for it: 5.10, 6.1, 6.12 or 7.3 (default: this machine)
    #[arg(long, value_name = "SERIES")]
    kernel: Option<String>,
    /// Hooks that twtrace may use: best, no-fentry, tracepoints, classic or inferred
    #[arg(long, value_name = "TIER", default_value = "best")]
    tier: String,
    /// Seed of the first round; each further one has the next (default: a random one)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Lives of each network namespace in a round
    #[arg(long, value_name = "N")]
    lives: Option<u32>,
    /// Play rounds for so long; something wrong ends it at once
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    seconds: u64,
    #[command(flatten)]
    source: KernelSource,
    /// What runs the guest's code (default: KVM where it works)
    #[arg(long, value_name = "WHAT")]
    accel: Option<Accelerator>,
    /// CPUs of the guest
    #[arg(long, value_name = "N", default_value_t = guest::CPUS)]
    cpus: u8,
}

/// Lives if everything takes twenty times as long.
const LIVES_IN_GUESTS: u32 = 300;
/// Additional time for the start and the last round of a guest.
const GUEST_GRACE: Duration = Duration::from_secs(600);

impl StormArgs {
    fn arguments(&self) -> Vec<String> {
        let lives = self
            .lives
            .or(self.kernel.is_some().then_some(LIVES_IN_GUESTS));
        let mut arguments = vec!["--storm".to_owned()];
        for (name, value) in [
            ("--tier", Some(self.tier.clone())),
            ("--seed", self.seed.map(|seed| seed.to_string())),
            ("--lives", lives.map(|lives| lives.to_string())),
            ("--seconds", Some(self.seconds.to_string())),
        ] {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value]);
            }
        }
        arguments
    }
}

/// Exits with 0 if there were no errors.
///
/// # Errors
/// If it can't be built or started.
pub fn verb(workspace: &Workspace, args: &StormArgs) -> Result<ExitCode> {
    let binaries = build::everything(workspace, Profile::Quick, Parts::ProgramAndTests)?;
    match &args.kernel {
        Some(series) => in_guest(workspace, args, series, &binaries),
        None => {
            let mut command = as_root(&binaries.scenarios())?;
            command.arg("--twtrace").arg(binaries.twtrace());
            let status = command.args(args.arguments()).status()?;
            Ok(if status.success() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

fn in_guest(
    workspace: &Workspace,
    args: &StormArgs,
    series: &str,
    binaries: &Binaries,
) -> Result<ExitCode> {
    tools::ensure_for_guests()?;
    let kernel = kernels::obtain(workspace, kernels::series(series)?, &args.source)?;
    let guest = Guest {
        workspace,
        kernel: &kernel,
        binaries,
        accelerator: args.accel,
        cpus: args.cpus,
        programs: tools::guest_programs().collect(),
        other: None,
    };
    let limits = Limits {
        whole: Duration::from_secs(args.seconds) + GUEST_GRACE,
        silence: None,
    };
    let command = format!(
        "scenarios --twtrace /bin/twtrace {}",
        args.arguments().join(" ")
    );
    vm::play(&guest, &[command], limits)
}
