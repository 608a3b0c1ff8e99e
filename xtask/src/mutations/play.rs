//! Builds the tests, and runs them.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use super::{
    group::{self, ProgramEnd},
    list::{PlayedOn, Tests},
    verdict::Ran,
};
use crate::{
    build::{self, Binaries, Parts, Profile},
    glob,
    guest::{
        self, Accelerator,
        boot::{self, Guest, Limits},
        kernels::{self, KernelSource},
        tools,
    },
    process::run,
    run::as_root,
    test::scenarios::RunnerOutput,
    workspace::Workspace,
};

/// Time limit of unit tests: a change may cause an endless loop.
const UNITS_LIMIT: Duration = Duration::from_secs(300);

/// The same for scenarios on this machine. A scenario with a missing event waits some seconds for it.
const SCENARIOS_LIMIT: Duration = Duration::from_secs(900);

/// How often to boot a guest that dies or hangs, as emulated ones do now and then.
const BOOTS: u32 = 3;

/// Where and how tests run.
pub struct MutationPlayer<'a> {
    /// The copy that is changed.
    pub copy: &'a Workspace,
    /// The original, which has the guests' kernels.
    pub original: &'a Workspace,
    /// Where kernels come from.
    pub source: &'a KernelSource,
    /// How the guests' code is executed.
    pub accelerator: Option<Accelerator>,
    /// Time limits of a guest.
    pub limits: Limits,
}

impl MutationPlayer<'_> {
    /// Builds what these tests need.
    ///
    /// # Errors
    /// If the code does not build.
    pub fn build(&self, tests: &Tests) -> Result<Option<Binaries>> {
        match tests {
            Tests::Units { package, .. } => {
                let mut command = unit_tests(self.copy, package);
                command.arg("--no-run");
                run(&mut command).map(|()| None)
            }
            Tests::Scenarios { .. } => {
                build::everything(self.copy, Profile::Quick, Parts::ProgramAndTests).map(Some)
            }
        }
    }

    /// Runs the tests, once they are built. A failing test is run once more, and counts only if it fails again: other
    /// activity on this machine can affect scenarios.
    ///
    /// # Errors
    /// If they can't be started.
    pub fn play(&self, tests: &Tests, binaries: Option<&Binaries>) -> Result<Ran> {
        match (tests, binaries) {
            (Tests::Units { package, filters }, _) => self.units(package, filters),
            (Tests::Scenarios { place, globs }, Some(binaries)) => {
                let first = self.scenarios(*place, globs, binaries)?;
                if first.failed.is_empty() || place.kernel.is_some() {
                    return Ok(first);
                }
                println!("once more:");
                let again = self.scenarios(*place, &narrowed(globs, &first), binaries)?;
                Ok(Ran {
                    passed: [first.passed, again.passed].concat(),
                    ..again
                })
            }
            (Tests::Scenarios { .. }, None) => {
                bail!("there are no programs to play scenarios with")
            }
        }
    }

    fn units(&self, package: &str, filters: &[String]) -> Result<Ran> {
        let mut command = unit_tests(self.copy, package);
        command.arg("--").args(filters);
        let mut ran = Ran::default();
        let end = group::run(command, UNITS_LIMIT, |line| take_unit(&mut ran, line))?;
        let is_expected = |code| (code == 0) == ran.failed.is_empty();
        ran.trouble = trouble(end, is_expected);
        Ok(ran)
    }

    fn scenarios(&self, place: PlayedOn, globs: &[String], binaries: &Binaries) -> Result<Ran> {
        let mut outcome = RunnerOutput::default();
        let mut options = vec!["--tier".to_owned(), place.tier.name().to_owned()];
        for pattern in globs {
            options.extend(["--only".to_owned(), pattern.clone()]);
        }
        let end = match place.kernel {
            None => {
                let mut command = as_root(&binaries.scenarios())?;
                command
                    .arg("--twtrace")
                    .arg(binaries.twtrace())
                    .args(&options);
                group::run(command, SCENARIOS_LIMIT, |line| take(&mut outcome, line))?
            }
            Some(kernel) => self.in_guest(kernel, &options, binaries, &mut outcome)?,
        };
        Ok(of_scenarios(outcome, end))
    }

    fn in_guest(
        &self,
        kernel: &str,
        options: &[String],
        binaries: &Binaries,
        outcome: &mut RunnerOutput,
    ) -> Result<ProgramEnd> {
        tools::ensure_for_guests()?;
        let kernel = kernels::obtain(self.original, kernels::series(kernel)?, self.source)?;
        let guest = Guest {
            workspace: self.original,
            kernel: &kernel,
            binaries,
            accelerator: self.accelerator,
            cpus: guest::CPUS,
            programs: tools::guest_programs().collect(),
            other: None,
        };
        let options: Vec<String> = options.iter().map(|word| format!("'{word}'")).collect();
        let command = format!("scenarios --twtrace /bin/twtrace {}", options.join(" "));
        let mut boot = 1;
        loop {
            *outcome = RunnerOutput::default();
            let report = guest.run(
                std::slice::from_ref(&command),
                self.limits,
                &mut |_, line| {
                    take(outcome, line);
                },
            )?;
            match report.trouble {
                None => {
                    let code = report.outcomes.first().and_then(boot::CommandEnd::code);
                    return Ok(ProgramEnd::Exited(code));
                }
                Some(trouble) if boot == BOOTS => bail!("{}: {trouble}", kernel.name),
                Some(trouble) => println!("[{}] {trouble}; booting it again", kernel.name),
            }
            boot += 1;
        }
    }
}

fn unit_tests(copy: &Workspace, package: &str) -> Command {
    let mut command = build::cargo(copy, Profile::Quick, "test");
    command.args(["--package", package, "--lib"]);
    command
}

/// Parses a line such as `test model::tests::a ... ok`.
fn take_unit(ran: &mut Ran, line: &str) {
    let Some((name, word)) = line
        .strip_prefix("test ")
        .and_then(|rest| rest.rsplit_once(" ... "))
    else {
        return;
    };
    match word {
        "ok" => ran.passed.push(name.to_owned()),
        "FAILED" => ran.failed.push(name.to_owned()),
        _ => ran.skipped.push(line.to_owned()),
    }
}

fn take(outcome: &mut RunnerOutput, line: &str) {
    // The output below a failure is not needed.
    if !line.starts_with("     | ") {
        println!("{line}");
    }
    outcome.take(line);
}

/// The scenarios that failed; all, if the failure is about all of them together.
fn narrowed(globs: &[String], ran: &Ran) -> Vec<String> {
    let names = ran.failed.iter().map(|line| {
        let name = line.strip_prefix("FAIL ")?.split_once(':')?.0;
        let is_one = globs.iter().any(|pattern| glob::matches(pattern, name));
        is_one.then(|| name.to_owned())
    });
    let names: Option<Vec<String>> = names.collect();
    names.unwrap_or_else(|| globs.to_vec())
}

fn of_scenarios(outcome: RunnerOutput, end: ProgramEnd) -> Ran {
    let trouble = match outcome.counts {
        None => Some(
            trouble(end, |_| false).unwrap_or_else(|| "the runner printed no counts".to_owned()),
        ),
        Some(counts) => trouble(end, |code| (code == 0) == (counts.failed == 0)),
    };
    Ran {
        passed: outcome.times.into_iter().map(|(name, _)| name).collect(),
        failed: outcome.failures,
        skipped: outcome
            .skips
            .into_iter()
            .map(|skip| format!("{}: {}", skip.scenario, skip.reason))
            .collect(),
        trouble,
    }
}

fn trouble(end: ProgramEnd, is_expected: impl Fn(i32) -> bool) -> Option<String> {
    match end {
        ProgramEnd::Exited(Some(code)) if is_expected(code) => None,
        ProgramEnd::Exited(Some(code)) => Some(format!("exited with {code}")),
        ProgramEnd::Exited(None) => Some("killed by a signal".to_owned()),
        ProgramEnd::OverTime => Some("it took too long, and was killed".to_owned()),
    }
}

/// Builds and runs tests of the unchanged copy.
pub fn unchanged(player: &MutationPlayer<'_>, tests: &Tests) -> Result<Ran> {
    let binaries = player
        .build(tests)
        .context("the unchanged code does not build")?;
    player.play(tests, binaries.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_unit_tests_are_read() {
        let mut ran = Ran::default();
        for line in [
            "running 3 tests",
            "test filter::tests::a ... ok",
            "test filter::tests::b - should panic ... ok",
            "test model::c ... FAILED",
            "test d ... ignored, takes long",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
        ] {
            take_unit(&mut ran, line);
        }
        assert_eq!(
            ran.passed,
            ["filter::tests::a", "filter::tests::b - should panic"]
        );
        assert_eq!(ran.failed, ["model::c"]);
        assert_eq!(ran.skipped, ["test d ... ignored, takes long"]);
    }

    #[test]
    fn what_failed_is_run_again_alone_unless_it_is_about_all() {
        let globs = ["a/*".to_owned(), "b".to_owned()];
        let of = |lines: &[&str]| {
            let failed = lines.iter().map(|line| (*line).to_owned()).collect();
            let ran = Ran {
                failed,
                ..Ran::default()
            };
            narrowed(&globs, &ran)
        };
        assert_eq!(of(&["FAIL a/v4: x: y"]), ["a/v4"]);
        assert_eq!(of(&["FAIL a/v4: x", "FAIL nothing_told_later: y"]), globs);
    }

    fn scenarios(lines: &[&str], end: ProgramEnd) -> Ran {
        let mut outcome = RunnerOutput::default();
        lines.iter().for_each(|line| outcome.take(line));
        of_scenarios(outcome, end)
    }

    #[test]
    fn results_of_scenarios_are_believed_with_their_exit_code() {
        let lines = [
            "ok   a/v4 (0.1 s)",
            "SKIP b: no SCTP",
            "FAIL c: 1, not 2",
            "1 passed, 1 failed, 1 skipped",
        ];
        let ran = scenarios(&lines, ProgramEnd::Exited(Some(1)));
        assert_eq!(
            (ran.passed.len(), ran.skipped.len(), ran.trouble),
            (1, 1, None)
        );
        assert_eq!(ran.failed, ["FAIL c: 1, not 2"]);
        assert!(
            scenarios(&lines, ProgramEnd::Exited(Some(0)))
                .trouble
                .is_some()
        );
        assert!(scenarios(&lines, ProgramEnd::OverTime).trouble.is_some());
        // Without the last line, it did not finish.
        let cut_off = scenarios(&lines[..1], ProgramEnd::Exited(Some(0)));
        assert_eq!(cut_off.trouble.as_deref(), Some("exited with 0"));
    }
}
