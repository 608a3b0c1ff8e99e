//! The filter of a recording, from its first line.

use std::str::FromStr;

use serde::Deserialize;
use twtrace_wire::{EventKind, Side};

use super::{Family, Filter};
use crate::event::words::Word;

/// The options of a first line that select what the recording contains.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    /// Null if no command was followed.
    command: Option<Vec<String>>,
    filter: Conditions,
}

/// An unknown condition can't be applied: ignoring it would show what the filter hid.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Conditions {
    pids: Vec<u32>,
    comms: Vec<String>,
    containers: Vec<String>,
    pods: Vec<String>,
    units: Vec<String>,
    local: Vec<String>,
    remote: Vec<String>,
    netns: Vec<u32>,
    sides: Vec<String>,
    kinds: Vec<String>,
}

/// Parses the filter from the options of a first line. The processes of a command are not there: its family is
/// initially empty.
///
/// # Errors
/// What is unknown, in a few words.
pub fn of_options(options: &str) -> Result<Filter, String> {
    let Options { command, filter } =
        serde_json::from_str(options).map_err(|error| error.to_string())?;
    Ok(Filter {
        pids: filter.pids,
        comms: filter.comms,
        containers: parsed(&filter.containers)?,
        pods: parsed(&filter.pods)?,
        units: parsed(&filter.units)?,
        local: parsed(&filter.local)?,
        remote: parsed(&filter.remote)?,
        netns: filter.netns,
        sides: words::<Side>(&filter.sides)?,
        kinds: words::<EventKind>(&filter.kinds)?,
        family: command.map(|_| Family::default()),
        recorded: None,
    })
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(texts: &[String]) -> Result<Vec<T>, String> {
    let parse = |text: &String| {
        text.parse()
            .map_err(|error: T::Err| format!("{text:?}: {error}"))
    };
    texts.iter().map(parse).collect()
}

fn words<T: Word>(words: &[String]) -> Result<Vec<T>, String> {
    let member = |word: &String| T::from_word(word).ok_or(format!("{word:?} is no known word"));
    words.iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(filter: &Filter) -> String {
        format!(
            r#"{{"command":null,"filter":{},"later":1}}"#,
            serde_json::to_string(filter).unwrap()
        )
    }

    #[test]
    fn every_condition_comes_back_as_it_was_written() {
        let filter = Filter {
            pids: vec![7],
            comms: vec!["my proxy".into()],
            containers: vec!["0123456789ab".parse().unwrap(), "web".parse().unwrap()],
            pods: vec!["3f1b2c4d".parse().unwrap()],
            units: vec!["nginx".parse().unwrap(), "my*.scope".parse().unwrap()],
            local: vec![":80".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            remote: vec![
                "[2001:db8::/32]:443".parse().unwrap(),
                "::1".parse().unwrap(),
            ],
            netns: vec![4_026_531_840],
            sides: Side::MEMBERS.to_vec(),
            kinds: EventKind::MEMBERS.to_vec(),
            ..Filter::default()
        };
        let text = options(&filter);
        let read = of_options(&text).unwrap();
        assert_eq!(options(&read), text);
        assert!(read.family.is_none() && read.hides_events());
    }

    #[test]
    fn nothing_asked_hides_nothing_and_a_command_has_a_family() {
        for text in ["{}", r#"{"command":null,"filter":{}}"#] {
            assert!(!of_options(text).unwrap().hides_events(), "{text}");
        }
        let of_command = of_options(r#"{"command":["true"]}"#).unwrap();
        assert!(of_command.family.is_some() && of_command.hides_events());
    }

    #[test]
    fn a_condition_that_is_not_known_is_an_error() {
        for filter in [
            r#"{"cgroups":["/a"]}"#,
            r#"{"sides":["left"]}"#,
            r#"{"kinds":["begun"]}"#,
            r#"{"remote":["example.org"]}"#,
            r#"{"containers":["abc"]}"#,
            "7",
        ] {
            let text = format!(r#"{{"filter":{filter}}}"#);
            assert!(of_options(&text).is_err(), "{text}");
        }
    }
}
