//! `twtrace completions` and `twtrace schema`: what is generated from definitions.

use anyhow::Result;
use clap::{Arg, Command, CommandFactory};
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
    let mut cli = Cli::command();
    generate(shell, &mut cli, NAME, &mut text);
    if shell == Shell::Fish {
        text.extend(arguments_for_fish(&cli).into_bytes());
    }
    text
}

/// The values of arguments without an option, which `clap_complete` leaves out for fish: ids, shells, outputs.
fn arguments_for_fish(cli: &Command) -> String {
    let mut lines = String::new();
    for verb in cli.get_subcommands() {
        let values = verb.get_positionals().flat_map(Arg::get_possible_values);
        let values: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
        if !values.is_empty() {
            lines.push_str(&format!(
                "complete -c {NAME} -n \"__fish_{NAME}_using_subcommand {}\" -f -a \"{}\"\n",
                verb.get_name(),
                values.join(" ")
            ));
        }
    }
    lines
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
            .map(Command::get_name)
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
            // clap completes values of positional arguments for bash and zsh, twtrace for fish.
            let completes_ids = matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish);
            assert_eq!(script.contains("close_wait_leak"), completes_ids, "{shell}");
        }
    }
}
