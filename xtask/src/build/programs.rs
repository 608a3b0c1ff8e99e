//! The userspace programs. All cargo runs on them have the same flags and target, so that they share compiled crates.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Binaries, FLAG_SEPARATOR, Parts, Profile, bpf, without_own_paths};
use crate::{
    process::run,
    workspace::{Workspace, host_triple, outer_cargo},
};

/// All packages except the eBPF one, which has no tests and can be linked for its own target only, and xtask, which is
/// built separately. Also used if only one program is requested: cargo enables the features that all of them need
/// together, and would recompile dependencies for another set.
const ALL: [&str; 5] = [
    "--workspace",
    "--exclude",
    "probe-ebpf",
    "--exclude",
    "xtask",
];

/// Settings beyond the developers' profile: of dependencies, for everything that is tested.
const DEPENDENCIES: &str = "xtask/profiles/dependencies.toml";

/// Settings of twtrace's own crates, for the programs that scenarios run.
const OWN: &str = "xtask/profiles/programs.toml";

/// A small program. Without it, cargo would leave out the features that only tests need, and recompile for them.
const PATH: [&str; 2] = ["--example", "path"];

/// `cargo VERB` with the target and the flags of the programs.
pub fn cargo(workspace: &Workspace, profile: Profile, verb: &str) -> Command {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    if profile == Profile::Release {
        flags.extend(without_own_paths(workspace));
    }
    let mut command = workspace.clean_cargo(&outer_cargo());
    command
        // The triple is named, so that the flags apply to the programs only, not to build scripts.
        .args([verb, "--locked", "--target", &host_triple(), "--target-dir"])
        .arg(&workspace.target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR))
        // Set even if it does not matter: another value in between would cause linking again.
        .env("TWTRACE_BPF_OBJECT", bpf::object_path(workspace));
    if profile == Profile::Release {
        command.arg("--release");
    }
    command
}

/// Builds the libraries, which is most of the work. The eBPF object need not exist yet.
pub fn libraries(workspace: &Workspace, profile: Profile, parts: Parts) -> Result<()> {
    let mut command = cargo(workspace, profile, "build");
    with_settings(workspace, &mut command, optimised(profile, parts));
    command.args(match (profile, parts) {
        (Profile::Release, _) => vec!["--package", "probe-user"],
        // It uses only the library of the program.
        (Profile::Quick, Parts::Program) => [&ALL[..], &PATH].concat(),
        (Profile::Quick, _) => [&ALL[..], &["--lib"], &PATH].concat(),
    });
    run(&mut command).context("can't build the libraries")
}

/// Builds programs, with the eBPF object, which must exist by now.
pub fn build(workspace: &Workspace, profile: Profile, parts: Parts) -> Result<Binaries> {
    let mut command = cargo(workspace, profile, "build");
    with_settings(workspace, &mut command, optimised(profile, parts));
    command.args(arguments(profile, parts));
    run(&mut command).context("can't build the userspace programs")?;
    if parts == Parts::All {
        for mut tests in unit_tests(workspace) {
            run(tests.arg("--no-run")).context("can't build the unit tests")?;
        }
    }
    Ok(binaries(workspace, profile))
}

/// Whether the programs exist, even if outdated.
pub fn are_built(workspace: &Workspace, profile: Profile) -> bool {
    binaries(workspace, profile).twtrace().is_file()
}

fn binaries(workspace: &Workspace, profile: Profile) -> Binaries {
    // The directory names that cargo uses for the profiles `dev` and `release`.
    let directory = match profile {
        Profile::Quick => "debug",
        Profile::Release => "release",
    };
    Binaries {
        directory: workspace.target.join(host_triple()).join(directory),
    }
}

/// Settings that optimise more than the profile does.
fn optimised(profile: Profile, parts: Parts) -> &'static [&'static str] {
    match (profile, parts) {
        (Profile::Release, _) | (Profile::Quick, Parts::Program) => &[],
        (Profile::Quick, Parts::ProgramAndTests | Parts::All) => &[DEPENDENCIES, OWN],
    }
}

fn with_settings(workspace: &Workspace, command: &mut Command, files: &[&str]) {
    for file in files {
        command.arg("--config").arg(workspace.root.join(file));
    }
}

/// Arguments that select what cargo builds.
fn arguments(profile: Profile, parts: Parts) -> Vec<&'static str> {
    let program = ["--package", "twtrace", "--bins"];
    let tests = ["--package", "twtrace-tests"];
    match (profile, parts) {
        // The build for users has no features that other programs need.
        (Profile::Release, Parts::Program) => program.to_vec(),
        (Profile::Release, _) => [&program[..], &tests, &PATH].concat(),
        (Profile::Quick, Parts::Program) => [&ALL[..], &["--bin", "twtrace"], &PATH].concat(),
        (Profile::Quick, _) => [&ALL[..], &["--bins"], &PATH].concat(),
    }
}

/// Commands that run all unit and property tests: those of xtask, which has a target and a profile of its own, and all
/// others. With `--no-run` they are only built.
pub fn unit_tests(workspace: &Workspace) -> [Command; 2] {
    let mut all = cargo(workspace, Profile::Quick, "test");
    with_settings(workspace, &mut all, &[DEPENDENCIES]);
    all.args(ALL).arg("--lib");
    let mut own = workspace.clean_cargo(&outer_cargo());
    own.args(["test", "--locked", "--package", "xtask", "--target-dir"])
        .arg(&workspace.target);
    [all, own]
}

/// Command that runs all lints; a warning is an error.
pub fn lints(workspace: &Workspace) -> Command {
    let mut command = cargo(workspace, Profile::Quick, "clippy");
    with_settings(workspace, &mut command, &[DEPENDENCIES]);
    command.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    command
}
