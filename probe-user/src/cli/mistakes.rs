//! What clap says about a mistyped command line, corrected where its advice would do harm.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// How clap begins the advice to pass an unknown option after `--`. There it would be the program to run.
const WRONG_ADVICE: &str = "to pass '";

/// Removes the advice that would run a program, and names the verbs that have the option.
pub fn corrected(mut error: Error, cli: &Command) -> Error {
    let mut tips = match error.remove(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips,
        _ => Vec::new(),
    };
    tips.retain(|tip| !tip.to_string().starts_with(WRONG_ADVICE));
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && let Some(name) = option.strip_prefix("--")
        && let verbs = verbs_with(name, cli)
        && !verbs.is_empty()
    {
        let tip = format!("'--{name}' is an option of {}", verbs.join(", "));
        tips.push(StyledStr::from(tip));
        // Another option of the same verb was hardly meant. The usage is about that one.
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::Usage);
    }
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && !word.starts_with('-')
    {
        tips.push(StyledStr::from(match humantime::parse_duration(word) {
            Ok(_) => format!("an optional value needs an equals sign: --watch={word}; else: --duration {word}"),
            Err(_) => format!("to count only some processes or one network namespace: --comm {word}, --netns {word}"),
        }));
        error.remove(ContextKind::Usage);
    }
    if !tips.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// The verbs that have this option.
fn verbs_with<'a>(name: &str, cli: &'a Command) -> Vec<&'a str> {
    let verbs = cli.get_subcommands();
    verbs
        .filter(|verb| verb.get_arguments().any(|arg| arg.get_long() == Some(name)))
        .map(Command::get_name)
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    fn said(line: &[&str]) -> String {
        let error = Cli::try_parse_from(line).unwrap_err();
        corrected(error, &Cli::command()).to_string()
    }

    #[test]
    fn no_advice_would_run_a_program() {
        for verb in ["trace", "record", "report", "doctor"] {
            for option in ["--tip-top", "-n", "--fail-onn=1", "--top", "--sort"] {
                let said = said(&["twtrace", verb, option]);
                assert!(!said.contains(" -- "), "{verb} {option}: {said}");
            }
        }
    }

    #[test]
    fn a_word_without_option_is_explained() {
        let watch = said(&["twtrace", "report", "--watch", "5s"]);
        assert!(watch.contains("--watch=5s"), "{watch}");
        for (verb, word) in [("report", "nginx"), ("doctor", "web")] {
            let said = said(&["twtrace", verb, word]);
            assert!(
                said.contains(&format!("--comm {word}, --netns {word}")),
                "{said}"
            );
            assert!(!said.contains(" -- "), "{said}");
        }
    }

    #[test]
    fn numbers_that_can_not_be_are_explained() {
        for (words, part) in [
            (["report", "--top", "0"], "a number of rows, such as 10"),
            (["report", "--top", "ten"], "a number of rows, such as 10"),
            (["report", "--duration", "-5s"], "such as 10s"),
            (["report", "--html", "-"], "not standard output"),
        ] {
            let said = said(&[&["twtrace"], words.as_slice()].concat());
            assert!(said.contains(part), "{said}");
        }
        let said = said(&["twtrace", "record", "--output", "f", "--max-size", "500"]);
        assert!(said.contains("500 bytes hold next to nothing"), "{said}");
    }

    #[test]
    fn the_verb_that_has_the_option_is_named() {
        let said = said(&["twtrace", "trace", "--top", "5"]);
        assert!(said.contains("'--top' is an option of report"), "{said}");
        assert!(!said.contains("--output"), "{said}");
    }
}
