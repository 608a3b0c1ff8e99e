//! `cargo xtask bench`: measures the cost of tracing, and writes the tables of docs/performance.md.
//!
//! The program `bench` of the tests crate measures; it also runs in guests.

mod guests;
mod performance_page;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    build::{self, Binaries, Parts, Profile},
    glob,
    guest::{Accelerator, kernels::KernelSource, tools},
    process::{line_of, output},
    run::as_root,
    workspace::Workspace,
};
use performance_page::Part;

/// Sections of the measurement, as `bench run --section` accepts them.
const SECTIONS: [&str; 8] = [
    "churn",
    "kinds",
    "bystanders",
    "scale",
    "memory",
    "start",
    "replay",
    "path",
];

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Few pairs of short runs: to try it, not for figures that last
    #[arg(long)]
    quick: bool,
    /// Only sections whose name matches: churn, kinds, bystanders, scale, memory, start, replay, path. The others stay as
    /// they are in the page
    #[arg(long, value_name = "GLOB", conflicts_with = "vm")]
    only: Option<String>,
    /// Print the tables in place of writing them to docs/performance.md
    #[arg(long)]
    print: bool,
    /// Measure in guests, the tiers of each kernel, in place of this machine
    #[arg(long)]
    vm: bool,
    /// With --vm, boot only this kernel series (repeatable; default: all)
    #[arg(long, value_name = "SERIES", requires = "vm")]
    kernel: Vec<String>,
    /// Another build of twtrace, to compare churn, start and replay with; with --vm, compare start and tiers and write
    /// nothing to the page
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    #[command(flatten)]
    source: KernelSource,
    /// What runs the guests' code (default: emulation with a clock that counts instructions, which gives the same
    /// figures whatever else this machine does)
    #[arg(long, value_name = "WHAT")]
    accel: Option<Accelerator>,
}

/// Measures, and writes or prints the tables.
///
/// # Errors
/// If something can't be built or measured. Earlier measurements are then on the page already.
pub fn verb(workspace: &Workspace, args: &BenchArgs) -> Result<()> {
    let sections = wanted(args)?;
    let binaries = build::everything(workspace, Profile::Release, Parts::ProgramAndTests)?;
    tools::ensure_peers();
    if args.vm {
        return guests::verb(workspace, args, &binaries);
    }
    for section in sections {
        let table = machine(workspace, args, &binaries, section)?;
        publish(workspace, args, Part::Machine, section, &table)?;
    }
    Ok(())
}

/// The requested sections.
fn wanted(args: &BenchArgs) -> Result<Vec<&'static str>> {
    let pattern = args.only.as_deref().unwrap_or("*");
    let wanted: Vec<_> = SECTIONS
        .into_iter()
        .filter(|section| glob::matches(pattern, section))
        .collect();
    ensure!(
        !wanted.is_empty(),
        "--only matches none of {}",
        SECTIONS.join(", ")
    );
    Ok(wanted)
}

/// Writes a section of the page, or prints it. Other sections stay unchanged.
fn publish(
    workspace: &Workspace,
    args: &BenchArgs,
    part: Part,
    section: &str,
    table: &str,
) -> Result<()> {
    let text = format!("{}\n\n{}", table.trim(), made_by(args, part)?);
    if args.print {
        println!("{text}");
        return Ok(());
    }
    let path = workspace.root.join("docs/performance.md");
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    fs::write(
        &path,
        performance_page::replace(&page, part, section, &text)?,
    )?;
    Ok(())
}

/// How a section was measured: command, date, machine.
fn made_by(args: &BenchArgs, part: Part) -> Result<String> {
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let mut command = "cargo xtask bench".to_owned();
    if args.quick {
        command += " --quick";
    }
    if let Some(glob) = &args.only {
        command += &format!(" --only '{glob}'");
    }
    if args.vm {
        command += " --vm";
    }
    for kernel in &args.kernel {
        command += &format!(" --kernel {kernel}");
    }
    let place = match part {
        Part::Machine => {
            let kernel = output(Command::new("uname").arg("-r"))?;
            let cpus = std::thread::available_parallelism()?;
            format!("on a machine with {cpus} CPUs and Linux {}", kernel.trim())
        }
        Part::Guests => format!("in a guest run by {}", guests::accelerator(args)),
    };
    Ok(format!(
        "Measured by `{command}` on {}, {place}.",
        date.trim()
    ))
}

fn machine(
    workspace: &Workspace,
    args: &BenchArgs,
    binaries: &Binaries,
    section: &str,
) -> Result<String> {
    let mut command = as_root(&binaries.bench())?;
    command
        .args(["run", "--twtrace"])
        .arg(binaries.twtrace())
        .args(["--section", section]);
    if section == "path" {
        if let Err(error) = tools::ensure_for_path() {
            // The table shows that too.
            eprintln!("{error:#}");
        }
        let committed = workspace.root.join("tests/src/bench/instructions.txt");
        command.arg("--path-program").arg(binaries.path());
        command.arg("--path-committed").arg(committed);
        if !args.print {
            command.arg("--path-commit");
        }
    }
    if args.quick {
        command.args(["--pairs", "2", "--connections", "8000"]);
    }
    if let Some(other) = &args.against {
        command.arg("--against").arg(other);
    }
    let ran = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't run {}", line_of(&command)))?;
    ensure!(ran.status.success(), "bench ended with {}", ran.status);
    Ok(String::from_utf8(ran.stdout)?)
}
