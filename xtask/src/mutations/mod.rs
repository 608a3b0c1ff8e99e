//! `cargo xtask test --break`: checks that tests can fail. Each of a list of small changes is made to a copy of the
//! tree; a change that no test detects is a hole in the tests.

mod group;
mod list;
mod play;
mod replace;
mod tree;
mod verdict;

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use self::{
    list::{Mutation, Tests},
    play::MutationPlayer,
    tree::Tree,
    verdict::{MutationVerdict, Results},
};
use crate::{
    glob,
    guest::{Accelerator, boot::Limits, kernels::KernelSource, tools},
    workspace::Workspace,
};

/// Options of `cargo xtask test --break`.
#[derive(Args)]
pub struct BreakArgs {
    /// Make each of a list of known mistakes in a copy of the code, and show that a test turns red
    #[arg(long = "break", conflicts_with_all = ["no_guests", "guests_only", "kernel"])]
    pub is_asked: bool,
    /// Print the list and stop
    #[arg(long, requires = "is_asked")]
    list: bool,
    /// Make those mistakes too that take a virtual machine
    #[arg(long, requires = "is_asked")]
    guests: bool,
}

/// Options shared with other test runs.
pub struct Options<'a> {
    /// A glob for names of mutations.
    pub only: Option<&'a str>,
    /// Where kernels come from.
    pub source: &'a KernelSource,
    /// How the guests' code is executed.
    pub accelerator: Option<Accelerator>,
    /// Time limits of a guest.
    pub limits: Limits,
}

/// Makes the changes, one after the other, and prints the results. Fails if one survives that the list does not
/// explain.
///
/// # Errors
/// If there is no result: the list does not match the code, or tests fail without a change.
pub fn verb(workspace: &Workspace, args: &BreakArgs, options: &Options<'_>) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut mutations = list::read(workspace)?;
    if let Some(pattern) = options.only {
        mutations.retain(|it| glob::matches(pattern, &it.name));
        ensure!(!mutations.is_empty(), "no mutation is named {pattern}");
    }
    mutations.sort_by_key(Mutation::rank);
    if args.list {
        mutations.iter().for_each(print);
        return Ok(ExitCode::SUCCESS);
    }
    let tree = Tree::refresh(workspace)?;
    check_all_fit(&tree, &mutations)?;
    let is_run = |it: &Mutation| args.guests || !it.is_for_guests();
    let player = MutationPlayer {
        copy: &tree.workspace,
        original: workspace,
        source: options.source,
        accelerator: options.accelerator,
        limits: options.limits,
    };
    group::end_with_this_process();
    let to_run: Vec<&Mutation> = mutations.iter().filter(|it| is_run(it)).collect();
    if to_run
        .iter()
        .any(|it| matches!(it.tests, Tests::Scenarios { .. }))
    {
        tools::ensure_for_scenarios()?;
    }
    check_unchanged(&player, &to_run)?;
    let mut rows = Vec::new();
    for (number, mutation) in mutations.iter().enumerate() {
        let started = Instant::now();
        let verdict = if is_run(mutation) {
            heading(&format!(
                "{} of {}: {}: {}",
                number + 1,
                mutations.len(),
                mutation.name,
                mutation.breaks
            ));
            tree.while_changed(mutation, || judge(&player, mutation))?
        } else {
            MutationVerdict::NotRun
        };
        let took = started.elapsed();
        println!("{}: {verdict} ({:.1} s)", mutation.name, took.as_secs_f64());
        rows.push((mutation, verdict, took));
    }
    let results = Results {
        rows,
        took: begun.elapsed(),
    };
    print!("{}", results.table());
    Ok(if results.are_well() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn heading(text: &str) {
    println!("\n==== {text} ====");
}

fn print(it: &Mutation) {
    println!("{}: {}", it.name, it.breaks);
    println!("    {}, shown by {}", it.file, it.tests);
    if let Some(why) = &it.survives {
        println!("    survives: {why}");
    }
}

/// Checks before anything is built, and reports all mismatches at once.
fn check_all_fit(tree: &Tree, mutations: &[Mutation]) -> Result<()> {
    let misfits: Vec<String> = mutations
        .iter()
        .filter_map(|it| tree.fits(it).err())
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(
        misfits.is_empty(),
        "{}:\n{}",
        list::DIRECTORY,
        misfits.join("\n")
    );
    Ok(())
}

/// Tests that already fail prove nothing.
fn check_unchanged(player: &MutationPlayer<'_>, mutations: &[&Mutation]) -> Result<()> {
    let mut faults = Vec::new();
    for tests in united(mutations) {
        heading(&format!("unchanged: {tests}"));
        let ran = play::unchanged(player, &tests)?;
        faults.extend(verdict::faults_of_unchanged(&ran, [&tests]));
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!(
        "nothing can be concluded, tests of the unchanged code are not green:\n{}",
        faults.join("\n")
    )
}

/// All tests of these mutations, in as few runs as possible.
fn united(mutations: &[&Mutation]) -> Vec<Tests> {
    let mut all: Vec<Tests> = Vec::new();
    for mutation in mutations {
        let known = all
            .iter_mut()
            .find_map(|known| patterns(known, &mutation.tests));
        match known {
            None => all.push(mutation.tests.clone()),
            Some((known, more)) => {
                let more = more.iter().filter(|it| !known.contains(it));
                let more: Vec<String> = more.cloned().collect();
                known.extend(more);
            }
        }
    }
    all
}

/// The patterns of both, if they run in the same way.
fn patterns<'a>(
    known: &'a mut Tests,
    other: &'a Tests,
) -> Option<(&'a mut Vec<String>, &'a Vec<String>)> {
    match (known, other) {
        (
            Tests::Units { package, filters },
            Tests::Units {
                package: others,
                filters: more,
            },
        ) if package == others => Some((filters, more)),
        (
            Tests::Scenarios { place, globs },
            Tests::Scenarios {
                place: others,
                globs: more,
            },
        ) if place == others => Some((globs, more)),
        _ => None,
    }
}

/// Runs the tests of the changed code.
fn judge(player: &MutationPlayer<'_>, mutation: &Mutation) -> MutationVerdict {
    let binaries = match player.build(&mutation.tests).context("does not build") {
        Ok(binaries) => binaries,
        Err(error) => return MutationVerdict::Error(format!("{error:#}")),
    };
    match player.play(&mutation.tests, binaries.as_ref()) {
        Ok(ran) => MutationVerdict::of(&ran),
        Err(error) => MutationVerdict::Error(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mutations::list::PlayedOn, test::scenarios::TierLimit};

    fn mutation(tests: Tests) -> Mutation {
        Mutation {
            name: "a".to_owned(),
            file: "a".to_owned(),
            find: "x".to_owned(),
            replace: "y".to_owned(),
            occurrence: Default::default(),
            breaks: "all".to_owned(),
            tests,
            survives: None,
        }
    }

    fn units(package: &str, filters: &[&str]) -> Tests {
        Tests::Units {
            package: package.to_owned(),
            filters: filters.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    fn scenarios(kernel: Option<&'static str>, tier: TierLimit, globs: &[&str]) -> Tests {
        Tests::Scenarios {
            place: PlayedOn { kernel, tier },
            globs: globs.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn unchanged_tests_run_once_for_each_package_and_place() {
        let mutations = [
            units("a", &["x", "y"]),
            units("b", &["x"]),
            units("a", &["y", "z"]),
            scenarios(None, TierLimit::Best, &["c"]),
            scenarios(None, TierLimit::Classic, &["c"]),
            scenarios(Some("6.1"), TierLimit::Best, &["c"]),
            scenarios(None, TierLimit::Best, &["d"]),
        ]
        .map(mutation);
        let mutations: Vec<&Mutation> = mutations.iter().collect();
        assert_eq!(
            united(&mutations),
            [
                units("a", &["x", "y", "z"]),
                units("b", &["x"]),
                scenarios(None, TierLimit::Best, &["c", "d"]),
                scenarios(None, TierLimit::Classic, &["c"]),
                scenarios(Some("6.1"), TierLimit::Best, &["c"]),
            ]
        );
    }
}
