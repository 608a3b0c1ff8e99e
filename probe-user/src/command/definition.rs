//! `twtrace completions` and `twtrace schema`: what is generated from definitions.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::print;
use crate::cli::{Cli, CompletionsArgs, SchemaArgs};
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
            "top", "trace", "report", "record", "serve", "doctor", "probes", "explain",
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
            // clap completes values of positional arguments for these only.
            let completes_ids = matches!(shell, Shell::Bash | Shell::Zsh);
            assert_eq!(script.contains("close_wait_leak"), completes_ids, "{shell}");
        }
    }
}
