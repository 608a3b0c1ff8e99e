//! The configuration file: options of the command line under their long names. The command line takes precedence over
//! the environment, and that over the file.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::de::DeTable;
use toml::{Table, Value};
use twtrace_core::nearest::nearest;

use crate::place::open_regular;

/// A larger file is rejected.
const MAX_BYTES: u64 = 1 << 20;
/// Options that select the file, or what to do with it.
const NOT_IN_FILES: [&str; 5] = ["config", "check-config", "verbose", "help", "version"];

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}", path.display())]
    Read {
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// It is not valid TOML.
    #[error("{} line {line}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Message of the parser.
        message: String,
    },
    /// It has a key that is not an option.
    #[error("{} line {line}: there is no option {key:?}{help}", path.display())]
    Unknown {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        key: String,
        /// The similar key, or all valid ones.
        help: String,
    },
    /// A key has a value that its option does not accept.
    #[error("{}: {key}: {why}", path.display())]
    Value {
        path: PathBuf,
        key: String,
        /// Why the value is invalid.
        why: String,
    },
}

/// The command line, extended by the options of the file.
///
/// # Errors
/// If the file can't be read, or contains a key or value that no option accepts.
pub fn extend(
    argv: &[OsString],
    given: &ArgMatches,
    verb: &Command,
    path: &Path,
) -> Result<Vec<OsString>, ConfigError> {
    let mut argv = argv.to_vec();
    let text = read(path)?;
    for (key, value) in parse(path, &text)? {
        let option = option(verb, &key).ok_or_else(|| ConfigError::Unknown {
            path: path.to_owned(),
            line: line_of_key(&text, &key),
            key: key.clone(),
            help: help(verb, &key),
        })?;
        let fails = |why: String| ConfigError::Value {
            path: path.to_owned(),
            key: key.clone(),
            why,
        };
        let words = words(&value).map_err(fails)?;
        let added: Vec<OsString> = words
            .iter()
            .map(|word| format!("--{key}={word}").into())
            .collect();
        check(verb, &added).map_err(fails)?;
        // Options that conflict are one choice.
        let rivals = verb.get_arg_conflicts_with(option);
        if !is_given(given, option) && !rivals.iter().any(|rival| is_given(given, rival)) {
            argv.extend(added);
        }
    }
    Ok(argv)
}

/// Options that a file may have, by their long names.
pub fn known(verb: &Command) -> Vec<&str> {
    let named = verb.get_arguments().filter_map(Arg::get_long);
    named.filter(|name| !NOT_IN_FILES.contains(name)).collect()
}

/// The effective configuration: a line for each option, as in a file, with its source. `verb` and `used` belong to the
/// extended command line, `given` to the command line alone.
pub fn in_force(verb: &Command, used: &ArgMatches, given: &ArgMatches) -> String {
    let mut text = String::new();
    for name in known(verb) {
        let Some(option) = option(verb, name) else {
            continue;
        };
        let id = option.get_id().as_str();
        let Some(values) = used.get_raw(id) else {
            continue;
        };
        let source = match given.value_source(id) {
            Some(ValueSource::CommandLine) => "command line",
            Some(ValueSource::EnvVariable) => "environment",
            _ => match used.value_source(id) {
                Some(ValueSource::CommandLine) => "file",
                _ => "default",
            },
        };
        let mut values: Vec<Value> = values
            .map(|value| Value::String(value.to_string_lossy().into_owned()))
            .collect();
        let value = match (option.get_action(), values.len()) {
            (clap::ArgAction::Append, _) | (_, 2..) => Value::Array(values),
            _ => values.swap_remove(0),
        };
        text.push_str(&format!("{name} = {value} # {source}\n"));
    }
    text
}

fn option<'a>(verb: &'a Command, name: &str) -> Option<&'a Arg> {
    let mut options = verb.get_arguments();
    options
        .find(|option| option.get_long() == Some(name))
        .filter(|_| !NOT_IN_FILES.contains(&name))
}

fn is_given(given: &ArgMatches, option: &Arg) -> bool {
    let id = option.get_id().as_str();
    // It would panic for a name that is not an option of the verb; this one is.
    matches!(
        given.value_source(id),
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}

/// What to write instead of a key that is not an option.
fn help(verb: &Command, key: &str) -> String {
    let known = known(verb);
    match nearest(key, known.iter().copied()) {
        Some(similar) => format!("; did you mean {similar:?}?"),
        None => format!("; there are {}", known.join(", ")),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let fails = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    // A pipe in its place would be waited for. Links are followed: a ConfigMap of Kubernetes has them.
    let file = open_regular(path).map_err(fails)?;
    let mut text = String::new();
    let mut file = file.take(MAX_BYTES + 1);
    file.read_to_string(&mut text).map_err(fails)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(fails(io::Error::other("larger than 1 MiB")));
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Table, ConfigError> {
    text.parse()
        .map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_at(text, error.span().map(|span| span.start)),
            message: error.message().replace('\n', " "),
        })
}

/// The line that a key of the file is on.
fn line_of_key(text: &str, key: &str) -> usize {
    let offset = DeTable::parse(text).ok().and_then(|table| {
        let mut keys = table.get_ref().keys();
        keys.find(|known| known.get_ref() == key)
            .map(|known| known.span().start)
    });
    line_at(text, offset)
}

/// The line of an offset, counted from 1.
fn line_at(text: &str, offset: Option<usize>) -> usize {
    let before = offset.and_then(|offset| text.get(..offset));
    before.map_or(1, |before| 1 + before.matches('\n').count())
}

/// The values as words of the command line.
fn words(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Integer(number) => Ok(vec![number.to_string()]),
        Value::Boolean(on) => Ok(vec![if *on { "on" } else { "off" }.to_owned()]),
        Value::Array(values) => {
            let each = values.iter().map(|value| match value {
                Value::Array(_) => Err("a list within a list".to_owned()),
                value => words(value),
            });
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => Err(format!(
            "{}: write a string, a number, or a list of them",
            value.type_str()
        )),
    }
}

/// Whether the verb would accept these options by themselves.
fn check(verb: &Command, added: &[OsString]) -> Result<(), String> {
    let name = OsString::from(verb.get_name());
    let argv = std::iter::once(name).chain(added.iter().cloned());
    match verb.clone().try_get_matches_from(argv) {
        Ok(_) => Ok(()),
        Err(error) => Err(in_one_line(&error)),
    }
}

/// Message of clap, without its usage text.
pub fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let said =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let said: Vec<&str> = said.filter(|line| !line.is_empty()).collect();
    let said = said.join(" ");
    said.strip_prefix("error: ").unwrap_or(&said).to_owned()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
