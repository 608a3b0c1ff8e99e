//! Tests the packages, and what they change on a host; with the program that all tests use: building the optimised one
//! takes as long as playing three guests. In a process of its own, so that its lines carry the name of this phase.

use std::{env, process::Command};

use anyhow::{Context, Result, ensure};

use super::{
    console,
    plan::Unit,
    result::{PhaseResult, PhaseVerdict},
};
use crate::process::is_root;

/// Builds and tests the packages, as far as possible here; also in a guest, if this run boots guests.
pub fn test(in_guest: bool) -> Vec<PhaseResult> {
    let work = || {
        let is_root = is_root();
        if !is_root {
            println!(
                "[{}] skipped: a Debian root and a guest of it take root",
                Unit::Packages.tag()
            );
        }
        verb(&arguments(is_root, in_guest))
    };
    let name = Unit::Packages.name();
    let (packages, _) = console::phase(&name, |()| PhaseVerdict::Well, work);
    vec![packages]
}

fn arguments(is_root: bool, in_guest: bool) -> Vec<&'static str> {
    let mut arguments = vec!["dist", "--quick", "--check"];
    if is_root {
        arguments.push("--test-root");
    }
    if is_root && in_guest {
        arguments.push("--test-guest");
    }
    arguments
}

/// Runs another verb of this xtask.
fn verb(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(env::current_exe().context("where is xtask?")?);
    // Progress of hundreds of crates is not useful beside other phases.
    command.args(arguments).env("CARGO_TERM_QUIET", "true");
    let code = console::follow(&Unit::Packages.tag(), command, |_| true)?;
    ensure!(
        code == 0,
        "xtask {} exited with {code}",
        arguments.join(" ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_root_is_left_out_without() {
        assert_eq!(arguments(false, true), ["dist", "--quick", "--check"]);
        assert_eq!(
            arguments(true, false),
            ["dist", "--quick", "--check", "--test-root"]
        );
        assert_eq!(arguments(true, true).len(), 5);
    }
}
