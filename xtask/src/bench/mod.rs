//! `cargo xtask bench`: what tracing costs, measured, and the tables of docs/performance.md made of it.
//!
//! The measuring is done by the program `bench` of the tests crate, which also runs in guests.

mod page;

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    build::{self, Binaries, Parts, Profile},
    guest::{
        Accelerator,
        boot::{Guest, Limits},
        kernels::{self, KernelSource},
        tools,
    },
    process::{line_of, output},
    run::as_root,
    workspace::Workspace,
};
use page::Part;

/// Parts of what is measured, as `bench run --section` takes them.
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
    /// Only sections whose name matches: churn, kinds, bystanders, scale, memory, start, replay, path
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
    /// Print the tables in place of writing them to docs/performance.md
    #[arg(long)]
    print: bool,
    /// Measure in guests, the tiers of each kernel, in place of this machine
    #[arg(long)]
    vm: bool,
    /// With --vm, boot only this kernel series (repeatable; default: 6.12)
    #[arg(long, value_name = "SERIES", requires = "vm")]
    kernel: Vec<String>,
    #[command(flatten)]
    source: KernelSource,
    /// What runs the guests' code (default: KVM where it works)
    #[arg(long, value_name = "WHAT")]
    accel: Option<Accelerator>,
}

/// Measures, and writes or prints the tables.
///
/// # Errors
/// When something can't be built or measured.
pub fn verb(workspace: &Workspace, args: &BenchArgs) -> Result<()> {
    let binaries = build::everything(workspace, Profile::Release, Parts::ForBench)?;
    if args.vm {
        let tables = guests(workspace, args, &binaries)?;
        return publish(workspace, args, Part::Guests, &tables);
    }
    let mut tables = String::new();
    for section in wanted(args)? {
        let table = machine(workspace, args, &binaries, section)?;
        tables += &table;
        // At once: what comes after may fail.
        let text = if args.print { &table } else { &tables };
        publish(workspace, args, Part::Machine, text)?;
    }
    Ok(())
}

/// Sections that are asked for.
fn wanted(args: &BenchArgs) -> Result<Vec<&'static str>> {
    let Some(glob) = &args.only else {
        return Ok(SECTIONS.to_vec());
    };
    ensure!(
        args.print,
        "a part alone would take the place of all: --only goes with --print"
    );
    let wanted: Vec<_> = SECTIONS
        .into_iter()
        .filter(|section| page::matches(glob, section))
        .collect();
    ensure!(
        !wanted.is_empty(),
        "--only matches none of {}",
        SECTIONS.join(", ")
    );
    Ok(wanted)
}

/// Writes tables into the page, or prints them.
fn publish(workspace: &Workspace, args: &BenchArgs, part: Part, tables: &str) -> Result<()> {
    if args.print {
        print!("{tables}");
        return Ok(());
    }
    let path = workspace.root.join("docs/performance.md");
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let text = format!("{}\n{tables}", made_by(args)?);
    fs::write(&path, page::replace(&page, part, &text)?)?;
    Ok(())
}

/// What made the tables: command, date, kernel.
fn made_by(args: &BenchArgs) -> Result<String> {
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let mut command = "cargo xtask bench".to_owned();
    for (given, option) in [(args.quick, " --quick"), (args.vm, " --vm")] {
        if given {
            command += option;
        }
    }
    for kernel in &args.kernel {
        command += &format!(" --kernel {kernel}");
    }
    let kernel = output(Command::new("uname").arg("-r"))?;
    let cpus = std::thread::available_parallelism()?;
    Ok(format!(
        "Made by `{command}` on {}, on a machine with {cpus} CPUs and Linux {}.\n",
        date.trim(),
        kernel.trim()
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
            // The table says so.
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
    let ran = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't run {}", line_of(&command)))?;
    ensure!(ran.status.success(), "bench ended with {}", ran.status);
    Ok(String::from_utf8(ran.stdout)?)
}

/// Tiers that a guest's kernel has, as titles and options of twtrace.
const TIERS: [(&str, &str); 3] = [
    ("fentry", ""),
    ("kprobes", "-- --without fentry,timers"),
    ("tracepoints", "-- --without fentry,kprobe"),
];

fn guests(workspace: &Workspace, args: &BenchArgs, binaries: &Binaries) -> Result<String> {
    tools::ensure_for_guests()?;
    let default = ["6.12".to_owned()];
    let names = if args.kernel.is_empty() {
        &default[..]
    } else {
        &args.kernel
    };
    // An emulated guest is 20 times slower: what is compared are its tiers.
    let size = if args.quick {
        "--pairs 1 --connections 500"
    } else {
        "--pairs 3 --connections 3000"
    };
    let mut text = String::new();
    for name in names {
        let kernel = kernels::obtain(workspace, kernels::series(name)?, &args.source)?;
        let guest = Guest {
            workspace,
            kernel: &kernel,
            binaries,
            accelerator: args.accel,
        };
        let commands = TIERS.map(|(_, options)| {
            format!("bench run --twtrace /bin/twtrace --section churn --who nobody,empty,report {size} {options}")
        });
        let mut tables = TIERS.map(|_| String::new());
        let limits = Limits {
            whole: Duration::from_secs(1800),
            silence: Some(Duration::from_secs(600)),
        };
        let report = guest.run(&commands, limits, &mut |index, line| {
            eprintln!("{line}");
            if line.starts_with('|') || line.is_empty() || line.starts_with("Programs of") {
                tables[index] += line;
                tables[index].push('\n');
            }
        })?;
        if let Some(trouble) = report.trouble {
            anyhow::bail!("{}: {trouble}", kernel.name);
        }
        for ((title, _), table) in TIERS.iter().zip(&tables) {
            text += &format!("### Linux {name}, {title}\n\n{}\n\n", table.trim());
        }
    }
    Ok(text)
}
