//! What comes before everything else, one after the other: each of these keeps all CPUs busy.

use super::{
    console, dependencies,
    plan::{UNIT_TESTS, Unit},
    result::{Numbers, PhaseResult, PhaseVerdict},
    units::{self, TestCounts},
};
use crate::{
    build::{self, Binaries, Parts, Profile},
    guest::tools,
    process::run,
    workspace::Workspace,
};

/// What later phases need.
#[derive(Default)]
pub struct Ready {
    /// The programs, with the object inside.
    pub binaries: Option<Binaries>,
    /// Whether the programs that scenarios run are installed on this machine.
    pub has_traffic_programs: bool,
    /// Whether the programs that boot guests are installed.
    pub boots_guests: bool,
}

/// Checks the format, dependencies, builds the programs, and runs lints, as far as these units need them.
pub fn prepare(workspace: &Workspace, units: &[Unit], results: &mut Vec<PhaseResult>) -> Ready {
    let has = |wanted: fn(&Unit) -> bool| units.iter().any(wanted);
    let checks = has(|unit| matches!(unit, Unit::Checks));
    let mut ready = Ready::default();
    if checks {
        let fmt = || run(workspace.cargo().args(["fmt", "--all", "--check"]));
        results.push(console::phase("fmt", |()| PhaseVerdict::Well, fmt).0);
        let policy = || dependencies::check(workspace);
        results.push(console::phase("dependencies", |()| PhaseVerdict::Well, policy).0);
    }
    if checks || has(Unit::has_scenarios) {
        let parts = if checks {
            Parts::All
        } else {
            Parts::ProgramAndTests
        };
        let work = || build::everything(workspace, Profile::Quick, parts);
        ready.binaries = built("build", work, results);
    }
    if checks {
        built("clippy", || run(&mut build::lints(workspace)), results);
    }
    if has(|unit| matches!(unit, Unit::Machine(_))) {
        let name = "programs for the scenarios";
        ready.has_traffic_programs = is_ready(name, tools::ensure_for_scenarios, results);
    }
    if has(|unit| matches!(unit, Unit::Kernel(_))) {
        let name = "programs for the guests";
        ready.boots_guests = is_ready(name, tools::ensure_for_guests, results);
    }
    ready
}

fn is_ready(name: &str, work: fn() -> anyhow::Result<()>, results: &mut Vec<PhaseResult>) -> bool {
    let (result, done) = console::phase(name, |()| PhaseVerdict::Well, work);
    results.push(result);
    done.is_some()
}

fn built<T>(
    name: &str,
    work: impl FnOnce() -> anyhow::Result<T>,
    results: &mut Vec<PhaseResult>,
) -> Option<T> {
    let (mut result, done) = console::phase(name, |_| PhaseVerdict::Well, work);
    result.is_building = true;
    results.push(result);
    done
}

/// Runs all unit and property tests, which are built by now.
pub fn unit_tests(workspace: &Workspace, ready: &Ready) -> PhaseResult {
    if ready.binaries.is_none() {
        return PhaseResult::not_run(UNIT_TESTS, "the build failed");
    }
    let work = || {
        let mut counts = TestCounts::default();
        let mut codes = Vec::new();
        for command in build::unit_tests(workspace) {
            codes.push(console::follow(&Unit::Checks.tag(), command, |line| {
                counts.take(line);
                !units::is_noise(line)
            })?);
        }
        anyhow::ensure!(codes == [0, 0], "cargo test exited with {codes:?}");
        Ok(counts)
    };
    let (mut result, _) = console::phase(UNIT_TESTS, |counts| PhaseVerdict::Tests(*counts), work);
    result.numbers = Numbers::AtLeast;
    result
}
