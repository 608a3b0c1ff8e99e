//! The effective settings: the command line, the environment and the configuration file together.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use twtrace_core::filter::Filter;

use super::config::{self, ConfigError};
use crate::cli::{Cli, Command, ServeArgs};

const VERB: &str = "serve";

/// Why settings are invalid.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// An error in the file itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An error in the command line, or in both together.
    #[error("{0}")]
    Usage(String),
}

type Result<T> = std::result::Result<T, SettingsError>;

/// Options, and their sources.
#[derive(Debug)]
pub struct Settings {
    /// The effective options.
    pub args: ServeArgs,
    in_force: String,
}

impl Settings {
    /// Reads the command line `argv`, which is valid, and the file that it names.
    ///
    /// # Errors
    /// If the file can't be read, or both together are invalid.
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

    /// A line for each option, as in a file, with its source.
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

    /// The directory that has the file now, if links lead out of [`Self::directory`].
    pub fn linked_directory(&self) -> Option<PathBuf> {
        let file = std::fs::canonicalize(self.args.config.as_deref()?).ok()?;
        file.parent().map(Path::to_owned)
    }

    /// Options of `later` that need a restart to take effect, by their names in files.
    pub fn need_restart(&self, later: &Self, filters: [&Filter; 2]) -> Vec<&'static str> {
        let (now, later) = (&self.args, &later.args);
        [
            (now.listen != later.listen, "listen"),
            (now.allowed_hosts != later.allowed_hosts, "allowed-hosts"),
            (now.top_processes != later.top_processes, "top-processes"),
            (
                now.top_destinations != later.top_destinations,
                "top-destinations",
            ),
            (now.privileges != later.privileges, "privileges"),
            (now.findings != later.findings, "findings"),
            (now.history != later.history, "history"),
            (now.probing != later.probing, "options for probing"),
            (
                // The kernel side's counts fit one kind only, and for the other each port allocation is an event.
                filters[0].is_by_process() != filters[1].is_by_process()
                    || filters[0].needs_each_search() != filters[1].needs_each_search(),
                "filters by address or side where there were none, or none where there were",
            ),
            (
                // Only the requested namespaces are sampled.
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

/// Can't happen for a command line of `serve`.
fn no_verb() -> SettingsError {
    SettingsError::Usage(format!("the command line is not one of {VERB}"))
}
