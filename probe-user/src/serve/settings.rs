//! What is in force: the command line, the environment and the configuration file together.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use twtrace_core::filter::Filter;

use super::config::{self, ConfigError};
use crate::cli::{Cli, Command, ServeArgs};

const VERB: &str = "serve";

/// What can't be in force.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file by itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line, or both together.
    #[error("{0}")]
    Usage(String),
}

type Result<T> = std::result::Result<T, SettingsError>;

/// Options, and how they came about.
#[derive(Debug)]
pub struct Settings {
    /// In force.
    pub args: ServeArgs,
    in_force: String,
}

impl Settings {
    /// Reads the command line `argv`, which was found good, and the file that it names.
    ///
    /// # Errors
    /// When the file can't be read, or both together have what can't be.
    pub fn read(argv: &[OsString]) -> Result<Self> {
        let mut whole = Cli::command();
        whole.build();
        let verb = whole.find_subcommand(VERB).ok_or_else(no_verb)?.clone();
        let given = matches(&whole, argv)?;
        let Some(path) = given.get_one::<PathBuf>("config") else {
            return Self::of(&verb, &given, &whole, argv);
        };
        let extended = config::extend(argv, &given, &verb, path)?;
        Self::of(&verb, &given, &whole, &extended)
    }

    fn of(
        verb: &clap::Command,
        given: &ArgMatches,
        whole: &clap::Command,
        argv: &[OsString],
    ) -> Result<Self> {
        let all = whole
            .clone()
            .try_get_matches_from(argv)
            .map_err(in_one_line)?;
        let used = all.subcommand_matches(VERB).ok_or_else(no_verb)?;
        let Some(Command::Serve(args)) = Cli::from_arg_matches(&all).map_err(in_one_line)?.command
        else {
            return Err(no_verb());
        };
        Ok(Self {
            args: *args,
            in_force: config::in_force(verb, used, given),
        })
    }

    /// A line for each option, as a file would have it, and where it comes from.
    pub fn in_force(&self) -> &str {
        &self.in_force
    }

    /// Directories from which it is read again.
    pub fn directory(&self) -> Option<&Path> {
        let directory = self.args.config.as_deref()?.parent()?;
        Some(if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        })
    }

    /// Options of `later` that take a restart to come into force, by the names that they have in files.
    pub fn need_restart(&self, later: &Self, filters: [&Filter; 2]) -> Vec<&'static str> {
        let (now, later) = (&self.args, &later.args);
        [
            (now.listen != later.listen, "listen"),
            (now.top_processes != later.top_processes, "top-processes"),
            (
                now.top_destinations != later.top_destinations,
                "top-destinations",
            ),
            (now.privileges != later.privileges, "privileges"),
            (now.history != later.history, "history"),
            (now.probing != later.probing, "options for probing"),
            (
                // The kernel side's numbers are good for one kind, and each search is an event for the other.
                filters[0].is_by_process() != filters[1].is_by_process()
                    || filters[0].needs_each_search() != filters[1].needs_each_search(),
                "filters by address or side where there were none, or none where there were",
            ),
            (
                // Only those that were asked for are looked into.
                filters[0].netns != filters[1].netns,
                "netns",
            ),
        ]
        .into_iter()
        .filter_map(|(differs, name)| differs.then_some(name))
        .collect()
    }
}

fn matches(whole: &clap::Command, argv: &[OsString]) -> Result<ArgMatches> {
    let mut all = whole
        .clone()
        .try_get_matches_from(argv)
        .map_err(in_one_line)?;
    let (_, given) = all.remove_subcommand().ok_or_else(no_verb)?;
    Ok(given)
}

fn in_one_line(error: clap::Error) -> SettingsError {
    SettingsError::Usage(config::in_one_line(&error))
}

/// Of a command line that is one of `serve`, it is there.
fn no_verb() -> SettingsError {
    SettingsError::Usage(format!("the command line is not one of {VERB}"))
}
