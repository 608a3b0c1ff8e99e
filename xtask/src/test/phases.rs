//! The phases of a test run: each with a heading, its time, and a line in the table.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};

use super::{
    TestArgs,
    guests::Guests,
    scenarios::{Outcome, Tier},
    summary::{PhaseResult, Verdict},
};
use crate::{
    build::{self, Binaries, Parts, Profile},
    dist,
    guest::{kernels::Series, tools},
    process::run,
    run::as_root,
    workspace::Workspace,
};

/// On the machine's own kernel.
const MACHINE_TIERS: [Tier; 3] = [Tier::Best, Tier::Classic, Tier::Inferred];

/// The phases that ran.
#[derive(Default)]
pub struct Phases {
    results: Vec<PhaseResult>,
}

impl Phases {
    /// How they ended.
    pub fn results(&self) -> &[PhaseResult] {
        &self.results
    }

    /// Format, lints, unit and property tests.
    pub fn checks(&mut self, workspace: &Workspace) {
        self.cargo(workspace, "fmt", &["fmt", "--all", "--check"]);
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        self.cargo(workspace, "clippy", &clippy);
        // The eBPF crate has no tests, and can be linked for its own target only.
        let tests = ["test", "--workspace", "--exclude", "probe-ebpf", "--locked"];
        self.cargo(workspace, "unit and property tests", &tests);
    }

    fn cargo(&mut self, workspace: &Workspace, name: &str, arguments: &[&str]) {
        self.phase(name, || run(workspace.cargo().args(arguments)));
    }

    /// The programs that the scenarios run.
    pub fn build(&mut self, workspace: &Workspace) -> Option<Binaries> {
        self.phase("build", || {
            build::everything(workspace, Profile::Release, Parts::ProgramAndTests)
        })
    }

    /// Scenarios on the machine's own kernel.
    pub fn machine(&mut self, binaries: &Binaries, only: Option<&str>) {
        if self
            .phase("programs for the scenarios", tools::ensure_for_scenarios)
            .is_none()
        {
            return;
        }
        for tier in MACHINE_TIERS {
            let name = format!("this machine {}", tier.name());
            self.scenarios(&name, || {
                let mut command = as_root(&binaries.scenarios())?;
                command
                    .arg("--twtrace")
                    .arg(binaries.twtrace())
                    .args(arguments(tier, only));
                follow(&mut command)
            });
        }
    }

    /// Scenarios in guests, several guests at a time.
    pub fn guests(
        &mut self,
        workspace: &Workspace,
        series: &[&'static Series],
        binaries: &Binaries,
        args: &TestArgs,
    ) {
        if series.is_empty()
            || self
                .phase("programs for the guests", tools::ensure_for_guests)
                .is_none()
        {
            return;
        }
        heading("guests");
        let guests = Guests {
            workspace,
            binaries,
            args,
        };
        self.results.extend(guests.run(series));
    }

    /// What is given to users, and what becomes of a host that it is installed on.
    pub fn packages(&mut self, workspace: &Workspace, binaries: &Binaries, in_guest: bool) {
        self.phase("packages", || {
            dist::test(workspace, &binaries.twtrace(), in_guest)
        });
    }

    fn scenarios(&mut self, name: &str, work: impl FnOnce() -> Result<(Outcome, i32)>) {
        heading(name);
        let begun = Instant::now();
        let verdict = match work() {
            Ok((outcome, code)) => judge(outcome, Some(code)),
            Err(error) => failed(&error),
        };
        self.push(name, begun, verdict);
    }

    fn phase<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        heading(name);
        let begun = Instant::now();
        let result = work();
        let verdict = result.as_ref().map_or_else(failed, |_| Verdict::Well);
        self.push(name, begun, verdict);
        result.ok()
    }

    fn push(&mut self, name: &str, begun: Instant, verdict: Verdict) {
        let took = begun.elapsed();
        let result = PhaseResult {
            name: name.to_owned(),
            took: Some(took),
            verdict,
        };
        let word = if result.is_well() { "done" } else { "FAILED" };
        println!("==== {name}: {word} in {:.1} s", took.as_secs_f64());
        self.results.push(result);
    }
}

fn heading(name: &str) {
    println!("\n==== {name} ====");
}

fn failed(error: &anyhow::Error) -> Verdict {
    println!("error: {error:#}");
    Verdict::Failed(format!("{error:#}"))
}

/// Counts are believed only with the exit code that goes with them.
pub fn judge(outcome: Outcome, exit: Option<i32>) -> Verdict {
    match (outcome.counts, exit) {
        (Some(counts), Some(code)) if (code == 0) == (counts.failed == 0) => {
            Verdict::Scenarios(outcome)
        }
        (_, Some(code)) => Verdict::Failed(format!(
            "the scenario runner exited with {code} and {}",
            said(&outcome)
        )),
        (_, None) => Verdict::Failed(format!(
            "the scenario runner did not end, and {}",
            said(&outcome)
        )),
    }
}

fn said(outcome: &Outcome) -> String {
    let failures: Vec<_> = outcome
        .remarks
        .iter()
        .filter(|remark| remark.starts_with("FAIL"))
        .map(String::as_str)
        .collect();
    match (outcome.counts, failures.as_slice()) {
        (Some(counts), _) => format!("counted {} failures", counts.failed),
        (None, []) => "printed no counts".to_owned(),
        (None, some) => format!("printed no counts, but {}", some.join("; ")),
    }
}

/// The runner's arguments for a tier.
pub fn arguments(tier: Tier, only: Option<&str>) -> Vec<String> {
    let mut arguments = vec!["--tier".to_owned(), tier.name().to_owned()];
    if let Some(glob) = only {
        arguments.extend(["--only".to_owned(), glob.to_owned()]);
    }
    arguments
}

/// Runs the runner here, showing its lines as they come.
fn follow(command: &mut Command) -> Result<(Outcome, i32)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run {}", crate::process::line_of(command)))?;
    let output = child.stdout.take().context("the runner has no stdout")?;
    let mut outcome = Outcome::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("can't read the runner's output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        outcome.take(&line);
    }
    let status = child.wait().context("can't wait for the runner")?;
    Ok((outcome, status.code().unwrap_or(-1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line: &str) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.take(line);
        outcome
    }

    #[test]
    fn counts_need_their_exit_code() {
        let well = outcome("2 passed, 0 failed, 0 skipped");
        let ill = outcome("1 passed, 1 failed, 0 skipped");
        assert!(matches!(
            judge(well.clone(), Some(0)),
            Verdict::Scenarios(_)
        ));
        assert!(matches!(judge(ill, Some(1)), Verdict::Scenarios(_)));
        assert!(matches!(judge(well.clone(), Some(101)), Verdict::Failed(_)));
        assert!(matches!(judge(well, None), Verdict::Failed(_)));
        assert!(matches!(
            judge(Outcome::default(), Some(0)),
            Verdict::Failed(_)
        ));
    }
}
