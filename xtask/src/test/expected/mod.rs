//! `tests/expected.toml`: how many scenarios must pass in each phase, and which may be skipped where. Without it, a run
//! that does not find half of the scenarios, or skips them, would also pass.

mod rewrite;

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    result::{Numbers, PhaseResult, PhaseVerdict},
    scenarios::SkippedScenario,
};
use crate::{glob, workspace::Workspace};

/// Its path, as shown to users.
const NAME: &str = "tests/expected.toml";

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedNumbers {
    /// Prefix of the release of the kernel on which this machine's phases were counted.
    machine_kernel: String,
    /// The numbers of each phase, by its name.
    phases: BTreeMap<String, Pin>,
    /// Allowed skips.
    #[serde(default)]
    skip: Vec<AllowedSkip>,
}

/// The numbers of a phase.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Pin {
    passed: u32,
    #[serde(default)]
    skipped: u32,
}

/// Scenarios that a kernel, tier or machine can't run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedSkip {
    /// A glob of phases.
    phase: String,
    /// A glob of scenarios.
    scenario: String,
    /// What the reason must contain.
    reason: String,
}

impl AllowedSkip {
    fn allows(&self, phase: &str, skip: &SkippedScenario) -> bool {
        glob::matches(&self.phase, phase)
            && glob::matches(&self.scenario, &skip.scenario)
            && skip.reason.contains(&self.reason)
    }
}

impl ExpectedNumbers {
    /// Reads the file of the workspace.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let path = path(workspace);
        let text =
            fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// How to compare phases on a machine with a kernel of that release.
    pub fn on_machine(&self, release: &str) -> Numbers {
        let rest = release.strip_prefix(&self.machine_kernel);
        if rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())) {
            Numbers::Same
        } else {
            Numbers::SameSum
        }
    }

    /// Errors in the skips of a phase.
    pub fn wrong_skips(&self, result: &PhaseResult) -> Vec<String> {
        let PhaseVerdict::Scenarios(outcome) = &result.verdict else {
            return Vec::new();
        };
        let is_allowed = |skip: &&SkippedScenario| {
            self.skip
                .iter()
                .any(|entry| entry.allows(&result.name, skip))
        };
        let wrong = outcome.skips.iter().filter(|skip| !is_allowed(skip));
        wrong
            .map(|skip| {
                format!(
                    "{} must not be skipped ({}): {NAME} has no such skip",
                    skip.scenario, skip.reason
                )
            })
            .collect()
    }

    /// Errors in the numbers of a phase that has worked.
    pub fn wrong_numbers(&self, result: &PhaseResult) -> Option<String> {
        if result.numbers == Numbers::Any || !result.has_worked() {
            return None;
        }
        let (passed, skipped) = match &result.verdict {
            PhaseVerdict::Well | PhaseVerdict::Failed(_) => return None,
            PhaseVerdict::Tests(tests) => (tests.passed, tests.left_out),
            PhaseVerdict::Scenarios(outcome) => {
                let counts = outcome.counts?;
                (counts.passed, counts.skipped)
            }
        };
        if passed == 0 {
            return Some(format!("none passed, and {skipped} were skipped"));
        }
        let Some(pin) = self.phases.get(&result.name) else {
            return Some(format!(
                "{NAME} has no numbers for this phase: {passed} passed, {skipped} were skipped; {}",
                rewrite::HOW
            ));
        };
        let (sum, pinned_sum) = (passed + skipped, pin.passed + pin.skipped);
        let (is_less, is_more) = match result.numbers {
            Numbers::Any => (false, false),
            Numbers::Same => (
                passed < pin.passed,
                passed > pin.passed || skipped != pin.skipped,
            ),
            Numbers::SameSum => (sum < pinned_sum, sum > pinned_sum),
            Numbers::AtLeast => (sum < pinned_sum, false),
        };
        let got = format!(
            "{passed} passed and {skipped} were skipped, where {NAME} expects {} and {}",
            pin.passed, pin.skipped
        );
        match (is_less, is_more) {
            (true, _) => Some(format!("too few: {got}")),
            (false, true) => Some(format!("update {NAME}: {got}; {}", rewrite::HOW)),
            (false, false) => None,
        }
    }
}

/// Writes the numbers of the phases that were run in full, if the whole run is successful; returns how many have
/// changed.
///
/// # Errors
/// If the run is not successful, or the file can't be read or written.
pub fn update(workspace: &Workspace, results: &[PhaseResult], release: &str) -> Result<usize> {
    let path = path(workspace);
    let text = fs::read_to_string(&path)?;
    let (new, changed) = rewrite::rewrite(&text, results, release)?;
    ExpectedNumbers::parse(&new).context("the new file would not be readable")?;
    fs::write(&path, new).with_context(|| format!("can't write {}", path.display()))?;
    Ok(changed)
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.root.join(NAME)
}

#[cfg(test)]
mod tests;
