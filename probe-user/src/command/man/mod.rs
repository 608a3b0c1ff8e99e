//! `twtrace man`: manual pages, from the definition of the command line, the schemas and a few texts.

mod fields;
mod texts;

use std::io;

use anyhow::{Context, Result, bail};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::print;
use crate::cli::{Cli, ManArgs};
use crate::schema::OutputKind;
use texts::PageTexts;

/// Prints a page.
///
/// # Errors
/// If there is no such verb, or the page can't be written.
pub fn run(args: &ManArgs) -> Result<()> {
    Ok(print(&page(args.verb.as_deref())?)?)
}

/// A page as roff.
///
/// # Errors
/// If there is no such verb, or the page can't be written.
pub fn page(verb: Option<&str>) -> Result<Vec<u8>> {
    let mut command = Cli::command();
    // Passes options of all verbs on to each.
    command.build();
    let command = match verb {
        None => command,
        Some(verb) => {
            let Some(found) = command.find_subcommand(verb) else {
                let verbs: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
                bail!("there is no verb {verb:?}; there are {}", verbs.join(", "));
            };
            found.clone()
        }
    };
    let mut text = Vec::new();
    render(verb.unwrap_or_default(), command, &mut text).context("writing the page")?;
    Ok(text)
}

fn render(verb: &str, command: Command, text: &mut Vec<u8>) -> io::Result<()> {
    let texts = texts::of(verb);
    let has_options = command.get_arguments().any(|arg| !arg.is_hide_set());
    let has_verbs = command.has_subcommands();
    let page = Man::new(command).source(concat!("twtrace ", env!("CARGO_PKG_VERSION")));
    page.render_title(text)?;
    page.render_name_section(text)?;
    page.render_synopsis_section(text)?;
    page.render_description_section(text)?;
    if has_options {
        page.render_options_section(text)?;
    }
    if has_verbs {
        page.render_subcommands_section(text)?;
    }
    if let Some(kind) = printed_as_json(verb) {
        let mut roff = Roff::new();
        fields::render(kind, &mut roff);
        roff.to_writer(text)?;
    }
    sections(verb, &texts).to_writer(text)?;
    if verb.is_empty() {
        page.render_version_section(text)?;
    }
    Ok(())
}

/// What `--json` of a verb prints.
fn printed_as_json(verb: &str) -> Option<OutputKind> {
    match verb {
        "trace" => Some(OutputKind::Event),
        "report" => Some(OutputKind::Report),
        "doctor" => Some(OutputKind::Doctor),
        "probes" => Some(OutputKind::Probes),
        _ => None,
    }
}

fn sections(verb: &str, texts: &PageTexts) -> Roff {
    let mut roff = Roff::new();
    let mut table = |heading: &str, rows: &[(&str, &str)]| {
        roff.control("SH", [heading]);
        for (term, text) in rows {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*text)]);
        }
    };
    table("EXIT STATUS", &texts.exit_status);
    table("FILES", &texts.files);
    roff.control("SH", ["EXAMPLES"]);
    for (what, line) in texts.examples {
        roff.control("TP", []);
        roff.text([roman(*what)]);
        roff.text([bold(*line)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let mut see_also = Vec::new();
    for page in texts.see_also.iter().filter(|page| **page != verb) {
        if !see_also.is_empty() {
            see_also.push(roman(", "));
        }
        match *page {
            "" => see_also.push(bold("twtrace(1)")),
            page if page.contains('(') => see_also.push(bold(page)),
            page => see_also.push(bold(format!("twtrace-{page}(1)"))),
        }
    }
    see_also.push(roman(format!(", {}", texts::DOCUMENTATION)));
    roff.text(see_also);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(verb: Option<&str>) -> String {
        String::from_utf8(page(verb).unwrap()).unwrap()
    }

    #[test]
    fn a_verb_has_a_page_of_its_own() {
        let all = text(None);
        assert!(all.starts_with(".ie"), "{all:.80}");
        assert!(all.contains(".TH twtrace 1"));
        assert!(all.contains("twtrace\\-report(1)"));
        let report = text(Some("report"));
        assert!(report.contains(".TH twtrace-report 1"));
        assert!(report.contains("\\-\\-max\\-sockets"));
        let error = page(Some("nonsense")).unwrap_err().to_string();
        assert!(error.contains("probes"), "{error}");
    }

    #[test]
    fn every_page_has_the_sections_that_readers_look_for() {
        let command = Cli::command();
        let verbs = command.get_subcommands().map(|verb| Some(verb.get_name()));
        for verb in verbs.chain([None]) {
            let page = text(verb);
            let mut rest = page.as_str();
            for heading in [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "\"EXIT STATUS\"",
                "FILES",
                "EXAMPLES",
                "\"SEE ALSO\"",
            ] {
                let line = format!("\n.SH {heading}\n");
                let Some((_, after)) = rest.split_once(&line) else {
                    panic!("{verb:?}: {heading}\n{page}");
                };
                assert!(
                    !after.trim().is_empty() && !after.starts_with(".SH"),
                    "{verb:?}: {heading}"
                );
                rest = after;
            }
        }
    }

    #[test]
    fn examples_are_command_lines_that_are_accepted() {
        use clap::Parser as _;
        let command = Cli::command();
        let verbs = command.get_subcommands().map(Command::get_name);
        for verb in verbs.chain([""]) {
            let examples = texts::of(verb).examples;
            assert!(!examples.is_empty(), "{verb}");
            for (_, line) in examples {
                let line = line.strip_prefix("sudo ").unwrap_or(line);
                let line = line.split(['|', '>', '&']).next().unwrap();
                let words = line.split_whitespace().map(|word| word.trim_matches('\''));
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{line}: {error}");
                }
            }
        }
    }

    #[test]
    fn fields_of_json_are_listed_with_their_documentation() {
        let trace = text(Some("trace"));
        assert!(trace.contains("\n.SH FIELDS\n"));
        for part in [
            "\\fBage_ns\\fR",
            "nanoseconds",
            "\\fBreason\\fR",
            "\n.SS time_wait_end\n",
        ] {
            assert!(trace.contains(part), "{part}\n{trace}");
        }
        let report = text(Some("report"));
        for part in [
            "\\fBprocesses\\fR",
            "\\fBaudit_off\\fR",
            "\n.SS BudgetRow\n",
        ] {
            assert!(report.contains(part), "{part}\n{report}");
        }
        assert!(!report.contains("`None`") && !text(Some("top")).contains("FIELDS"));
    }
}
