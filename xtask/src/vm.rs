//! `cargo xtask vm`: one guest, started by hand.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    build::{self, Parts, Profile},
    guest::{
        self, Accelerator,
        boot::{Guest, Limits},
        kernels::{self, GuestKernel, KernelSource},
        tools,
    },
    workspace::Workspace,
};

/// Options of `cargo xtask vm`.
#[derive(Args)]
pub struct VmArgs {
    /// Kernel series: 5.10, 6.1, 6.12 or 7.3
    #[arg(long, value_name = "SERIES", default_value = "6.12")]
    kernel: String,
    /// Offer a shell on the terminal in place of running anything
    #[arg(long, conflicts_with_all = ["exec", "scenarios"])]
    shell: bool,
    /// Run this command line in the guest in place of the scenarios (repeatable)
    #[arg(long, value_name = "COMMAND", conflicts_with = "scenarios")]
    exec: Vec<String>,
    /// Boot this kernel image, in place of a Debian package
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    vmlinuz: Option<PathBuf>,
    /// Modules of the kernel given by --vmlinuz: a directory with .ko files somewhere below
    #[arg(long, value_name = "DIR", requires = "vmlinuz")]
    modules: Option<PathBuf>,
    #[command(flatten)]
    source: KernelSource,
    /// What runs the guest's code (default: KVM where it works)
    #[arg(long, value_name = "WHAT")]
    accel: Option<Accelerator>,
    /// CPUs of the guest
    #[arg(long, value_name = "N", default_value_t = guest::CPUS)]
    cpus: u8,
    /// Minutes the guest may take
    #[arg(long, value_name = "MINUTES", default_value_t = 25)]
    timeout: u64,
    /// Arguments of the scenario runner
    #[arg(last = true, value_name = "ARGS")]
    scenarios: Vec<String>,
}

/// Boots the guest; exits with 0 if all its commands did.
///
/// # Errors
/// If the guest can't be built, packed or started, or dies.
pub fn verb(workspace: &Workspace, args: &VmArgs) -> Result<ExitCode> {
    tools::ensure_for_guests()?;
    let kernel = match &args.vmlinuz {
        Some(vmlinuz) => {
            ensure!(
                vmlinuz.is_file(),
                "there is no kernel image {}",
                vmlinuz.display()
            );
            GuestKernel {
                name: "custom".to_owned(),
                vmlinuz: vmlinuz.clone(),
                modules: args.modules.clone(),
            }
        }
        None => kernels::obtain(workspace, kernels::series(&args.kernel)?, &args.source)?,
    };
    if args.exec.is_empty() && !args.shell {
        tools::ensure_for_scenarios()?;
    }
    let binaries = build::everything(workspace, Profile::Quick, Parts::ProgramAndTests)?;
    let guest = Guest {
        workspace,
        kernel: &kernel,
        binaries: &binaries,
        accelerator: args.accel,
        cpus: args.cpus,
        programs: tools::guest_programs().collect(),
        other: None,
    };
    if args.shell {
        guest.shell()?;
        return Ok(ExitCode::SUCCESS);
    }
    let commands = if args.exec.is_empty() {
        vec![format!(
            "scenarios --twtrace /bin/twtrace {}",
            quoted(&args.scenarios)
        )]
    } else {
        args.exec.clone()
    };
    let limits = Limits {
        whole: Duration::from_secs(args.timeout.saturating_mul(60)),
        // A user's command may be silent for long.
        silence: None,
    };
    play(&guest, &commands, limits)
}

/// Runs these commands in a guest, and prints their output; returns success if all of them exited with 0.
///
/// # Errors
/// If the guest can't be started, or dies.
pub fn play(guest: &Guest<'_>, commands: &[String], limits: Limits) -> Result<ExitCode> {
    let report = guest.run(commands, limits, &mut |_, line| println!("{line}"))?;
    if let Some(trouble) = report.trouble {
        anyhow::bail!("{trouble}");
    }
    let all_well = report
        .outcomes
        .iter()
        .all(|outcome| outcome.code() == Some(0));
    Ok(if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Quotes the arguments for the guest's shell.
fn quoted(arguments: &[String]) -> String {
    let quoted: Vec<_> = arguments
        .iter()
        .map(|argument| format!("'{}'", argument.replace('\'', r"'\''")))
        .collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_the_guests_shell() {
        let arguments = ["--only", "tw*", "it's"].map(str::to_owned);
        assert_eq!(quoted(&arguments), r"'--only' 'tw*' 'it'\''s'");
    }
}
