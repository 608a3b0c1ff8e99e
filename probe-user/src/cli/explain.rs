//! Options of `explain`.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command};
use twtrace_core::explain;

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Finding, reason, error or column to explain; without it, list all.
    ///
    /// Case does not matter, nor do spaces and underscores: `full in`, `FULL_IN` and "FULL IN" are the same. A word that
    /// stands for several things prints all of them.
    #[arg(value_name = "ID", value_parser = AnyId, hide_possible_values = true)]
    pub id: Vec<String>,
}

/// Accepts any text, and offers the ids for completion: the command names the nearest id in one line, where a list of
/// all possible values would fill a screen.
#[derive(Clone, Debug)]
struct AnyId;

impl TypedValueParser for AnyId {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    /// Without headings of several words, which a shell would not complete.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let is_word = |id: &&str| id.chars().all(|char| char.is_alphanumeric() || char == '_');
        let all = explain::all();
        let ids: BTreeSet<&str> = all.iter().map(|it| it.id).filter(is_word).collect();
        Some(Box::new(ids.into_iter().map(PossibleValue::new)))
    }
}
