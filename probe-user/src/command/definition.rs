//! `twtrace completions`, `twtrace man` and schemas: what is generated from definitions.

use std::io;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::print;
use crate::cli::{Cli, CompletionsArgs, ManArgs, SchemaArgs};
use crate::schema;

const NAME: &str = "twtrace";

pub fn completions(args: &CompletionsArgs) -> Result<()> {
    Ok(print(&script(args.shell))?)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    generate(shell, &mut Cli::command(), NAME, &mut text);
    text
}

pub fn schema(args: &SchemaArgs) -> Result<()> {
    let text = serde_json::to_string_pretty(&schema::of(args.of))?;
    Ok(print(format!("{text}\n").as_bytes())?)
}

/// Prints the man page.
///
/// # Errors
/// If there is no such verb, or the page can't be written.
pub fn man(args: &ManArgs) -> Result<()> {
    Ok(print(&page(args.verb.as_deref())?)?)
}

fn page(verb: Option<&str>) -> Result<Vec<u8>> {
    let mut command = Cli::command();
    // Passes options of all verbs on to each.
    command.build();
    let command = match verb {
        None => command,
        Some(verb) => {
            let Some(found) = command.find_subcommand(verb) else {
                let verbs: Vec<&str> = command
                    .get_subcommands()
                    .map(clap::Command::get_name)
                    .collect();
                bail!("there is no verb {verb:?}; there are {}", verbs.join(", "));
            };
            found.clone()
        }
    };
    let mut text = Vec::new();
    let written: io::Result<()> = Man::new(command).render(&mut text);
    written.context("writing the page")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_shell_completes_every_verb() {
        let definition = Cli::command();
        let verbs: Vec<&str> = definition
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        for verb in [
            "top", "trace", "report", "record", "serve", "doctor", "probes",
        ] {
            assert!(verbs.contains(&verb), "{verb}");
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish] {
            let script = text(script(shell));
            // A verb may also be a word in a help text.
            let offered = |verb: &str| match shell {
                Shell::Bash => format!("twtrace,{verb})"),
                Shell::Zsh => format!("'{verb}:"),
                Shell::Fish => format!("-a \"{verb}\""),
                _ => format!("cand {verb} "),
            };
            for verb in &verbs {
                assert!(script.contains(&offered(verb)), "{shell}: {verb}");
            }
            assert!(script.contains("duration"), "{shell}");
        }
    }

    #[test]
    fn a_verb_has_a_page_of_its_own() {
        let all = text(page(None).unwrap());
        assert!(all.starts_with(".ie"), "{all:.80}");
        assert!(all.contains(".TH twtrace 1"));
        assert!(all.contains("twtrace\\-report(1)"));
        let report = text(page(Some("report")).unwrap());
        assert!(report.contains(".TH twtrace-report 1"));
        assert!(report.contains("\\-\\-max\\-sockets"));
        let error = page(Some("nonsense")).unwrap_err().to_string();
        assert!(error.contains("probes"), "{error}");
    }
}
