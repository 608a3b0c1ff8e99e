//! Developer commands: `cargo xtask VERB`. One module per verb.

mod apt;
mod bench;
mod build;
mod dist;
mod glob;
mod guest;
mod mutations;
mod process;
mod run;
mod setup;
mod stack_depth;
mod storm;
mod strip;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Builds, runs and tests twtrace"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find, or install, what building the eBPF side needs
    Setup,
    /// Build the static binary with the eBPF object inside, and print its path
    Build(build::BuildArgs),
    /// Build, then run twtrace with ARGS, by sudo when not root
    Run(run::RunArgs),
    /// Format, lint, unit tests, and the scenarios on this machine and in virtual machines
    Test(test::TestArgs),
    /// Make a Debian package, a tarball with the static binary, checksums and a list of what is inside
    Dist(dist::DistArgs),
    /// Measure what tracing costs, and write docs/performance.md
    Bench(bench::BenchArgs),
    /// Play random lives of connections, and compare what twtrace reports with what each process did
    Storm(storm::StormArgs),
    /// Boot one virtual machine with twtrace in it
    Vm(vm::VmArgs),
}

fn main() -> ExitCode {
    match dispatch(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match &cli.verb {
        Verb::Setup => setup::verb(&workspace).map(|()| ExitCode::SUCCESS),
        Verb::Build(args) => build::verb(&workspace, args).map(|()| ExitCode::SUCCESS),
        Verb::Run(args) => run::verb(&workspace, args),
        Verb::Test(args) => test::verb(&workspace, args),
        Verb::Dist(args) => dist::verb(&workspace, args),
        Verb::Bench(args) => bench::verb(&workspace, args).map(|()| ExitCode::SUCCESS),
        Verb::Storm(args) => storm::verb(&workspace, args),
        Verb::Vm(args) => vm::verb(&workspace, args),
    }
}
