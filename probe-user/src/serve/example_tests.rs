//! The configuration file that packages install: it has every option, and its comments are true.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::config;
use crate::cli::{Cli, Command as Verb, ServeArgs};

const EXAMPLE: &str = include_str!("../../../deploy/twtrace.toml");
/// Examples that have no default; `ring-kb` is another way to set `ring-mb`.
const NO_DEFAULT: [&str; 3] = ["history", "btf", "ring-kb"];

fn verb() -> Command {
    let mut command = Cli::command();
    command.build();
    command.find_subcommand("serve").unwrap().clone()
}

/// The lines that become options when their comment sign is removed, with their names.
fn options() -> Vec<(&'static str, &'static str)> {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    lines
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .map(|line| (line.split(' ').next().unwrap(), line))
        .collect()
}

fn matches(argv: &[OsString]) -> ArgMatches {
    let mut all = Cli::command().try_get_matches_from(argv).unwrap();
    all.remove_subcommand().unwrap().1
}

fn used(text: &str) -> ServeArgs {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let argv: Vec<OsString> = ["twtrace", "serve"].map(OsString::from).into();
    let argv = config::extend(&argv, &matches(&argv), &verb(), file.path()).unwrap();
    let used = Cli::command().try_get_matches_from(argv).unwrap();
    match Cli::from_arg_matches(&used).unwrap().command {
        Some(Verb::Serve(args)) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_option_is_in_the_example_once() {
    let shown: Vec<&str> = options().into_iter().map(|(name, _)| name).collect();
    let verb = verb();
    let known: BTreeSet<&str> = config::known(&verb).into_iter().collect();
    assert_eq!(shown.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(shown.len(), known.len());
}

#[test]
fn the_example_changes_nothing_and_shows_the_defaults() {
    let defaults = format!("{:?}", used(""));
    assert_eq!(format!("{:?}", used(EXAMPLE)), defaults);
    let shown = options()
        .into_iter()
        .filter(|(name, _)| !NO_DEFAULT.contains(name))
        .map(|(_, line)| format!("{line}\n"));
    assert_eq!(format!("{:?}", used(&shown.collect::<String>())), defaults);
}

#[test]
fn what_has_no_default_is_shown_as_it_may_be_written() {
    for (name, line) in options() {
        if NO_DEFAULT.contains(&name) {
            assert_ne!(
                format!("{:?}", used(line)),
                format!("{:?}", used("")),
                "{line}"
            );
        }
    }
    let probing = used("ring-kb = 8192").probing.options();
    assert_eq!(probing.ring_bytes, used("").probing.options().ring_bytes);
}
