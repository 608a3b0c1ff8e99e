use clap::CommandFactory;
use twtrace_core::event::words::Word;
use twtrace_core::hooks::Hook;
use twtrace_wire::{EventKind, Side};

use super::*;

fn trace(arguments: &[&str]) -> Result<ViewArgs, clap::Error> {
    let line = ["twtrace", "trace"].iter().chain(arguments);
    match Cli::try_parse_from(line)?.into_command()? {
        Command::Trace(args) => Ok(args),
        other => panic!("{other:?}"),
    }
}

fn refused(arguments: &[&str]) -> String {
    let error = trace(arguments).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn help_begins_with_what_the_tool_shows() {
    let help = Cli::command().render_help().to_string();
    assert!(help.starts_with("Who creates TIME_WAIT sockets"), "{help}");
}

/// A line for each filter, on a terminal of 80 columns; the values are in the long help.
#[test]
fn filters_have_a_line_each() {
    let mut command = Cli::command().term_width(80);
    let report = command.find_subcommand_mut("report").unwrap();
    let help = report.render_help().to_string();
    let (_, filters) = help.split_once("Filters:\n").unwrap();
    let (filters, _) = filters.split_once("\n\n").unwrap();
    assert!(
        filters.lines().count() == 10 && filters.lines().all(|line| line.contains(" Show only ")),
        "{filters}"
    );
    let long = report.render_long_help().to_string();
    for word in EventKind::MEMBERS.iter().map(|kind| kind.word()) {
        assert!(long.contains(word), "{word}");
    }
    for word in Side::MEMBERS.iter().map(|side| side.word()) {
        assert!(long.contains(word), "{word}");
    }
}

#[test]
fn no_verb_is_top_on_a_terminal_and_else_trace() {
    let cli = Cli::try_parse_from(["twtrace"]).unwrap();
    let is_top = matches!(cli.into_command(), Ok(Command::Top(_)));
    assert_eq!(is_top, terminal::check().is_ok());
}

#[test]
fn probing_options_reach_the_loader() {
    let options = trace(&[]).unwrap().probing.options();
    assert_eq!(options.ring_bytes, 8 << 20);
    assert_eq!(options.slow_port_ns, 1_000_000);
    assert!(options.without.is_empty());
    let options = trace(&[
        "--without",
        "fentry,kprobe",
        "--without",
        "syscalls",
        "--timers",
        "off",
        "--ring-kb",
        "4",
        "--slow-port",
        "0",
    ])
    .unwrap()
    .probing
    .options();
    assert_eq!(
        options.without,
        [Hook::Fentry, Hook::Kprobe, Hook::Syscalls, Hook::Timers]
    );
    assert_eq!((options.ring_bytes, options.slow_port_ns), (4_096, 0));
}

#[test]
fn a_command_keeps_its_own_options() {
    let line = |arguments: &[&str]| trace(arguments).map(|args| args.command.command);
    assert!(line(&["--json"]).unwrap().is_empty());
    assert_eq!(
        line(&["--json", "--", "ab", "-n", "200", "--", "--json"]).unwrap(),
        ["ab", "-n", "200", "--", "--json"]
    );
    // Without the two dashes it may be the value of a mistyped option.
    assert!(refused(&["ab"]).contains("ab"));
    let both = refused(&["--duration", "1s", "--", "ab"]);
    assert!(
        both.contains("--duration") && both.contains("COMMAND"),
        "{both}"
    );
    let cli = Cli::try_parse_from(["twtrace", "report", "--", "ab"]).unwrap();
    assert_eq!(cli.into_command().unwrap().runs(), ["ab"]);
    let cli = Cli::try_parse_from(["twtrace", "doctor", "--", "ab"]).unwrap();
    assert_eq!(cli.into_command().unwrap().runs(), ["ab"]);
}

#[test]
fn filters_are_repeatable() {
    let filter = trace(&[
        "--comm",
        "nginx",
        "--comm",
        "curl",
        "--remote",
        ":80",
        "--side",
        "client",
        "--event",
        "time_wait",
        "--event",
        "reset",
        "--netns",
        "42",
        "--container",
        "0123456789ab",
        "--pod",
        "3f1b2c4d-0a1b-4c2d-8e3f-001122334455",
        "--unit",
        "nginx",
        "--unit",
        "run-*.scope",
        "--duration",
        "10s",
    ])
    .unwrap();
    assert_eq!(filter.span.duration, Some(Duration::from_secs(10)));
    let filter = filter.filter.unchecked().unwrap();
    assert_eq!(filter.comms, ["nginx", "curl"]);
    assert_eq!(filter.sides, [Side::Client]);
    assert_eq!(filter.kinds, [EventKind::TimeWait, EventKind::Reset]);
    assert_eq!(filter.netns, [42]);
    assert_eq!((filter.containers.len(), filter.pods.len()), (1, 1));
    assert_eq!(filter.units[0].to_string(), "nginx.service");
    assert_eq!(filter.units[1].to_string(), "run-*.scope");
    assert_eq!(filter.remote.len(), 1);
}

#[test]
fn values_without_commas_may_be_separated_by_commas() {
    let args = trace(&[
        "--event",
        "reset,abort",
        "--side",
        "client,server",
        "--netns",
        "42,43",
        "--pid",
        "7,8",
        "--duration",
        "5",
    ])
    .unwrap();
    assert_eq!(args.span.duration, Some(Duration::from_secs(5)));
    assert_eq!(args.filter.pid, [7, 8]);
    let filter = args.filter.unchecked().unwrap();
    assert_eq!(filter.kinds, [EventKind::Reset, EventKind::Abort]);
    assert_eq!((filter.sides.len(), filter.netns), (2, vec![42, 43]));
}

#[test]
fn wrong_usage_is_refused_with_a_hint() {
    assert!(refused(&["--ring-mb", "3"]).contains("power of two"));
    assert!(refused(&["--ring-kb", "2"]).contains("power of two"));
    assert!(refused(&["--ring-kb", "4", "--ring-mb", "8"]).contains("cannot be used with"));
    for live in [&["--record", "y"][..], &["--", "true"]] {
        for verb in ["report", "doctor"] {
            let line = [&["twtrace", verb, "--from", "x"], live].concat();
            let error = Cli::try_parse_from(line).unwrap_err().to_string();
            assert!(error.contains("cannot be used with"), "{error}");
        }
    }
    assert!(refused(&["--duration", "soon"]).contains("such as 10s"));
    assert!(refused(&["--duration", "0s"]).contains("in no time"));
    assert!(refused(&["--pid", "nginx"]).contains("--comm nginx"));
    assert!(refused(&["--remote", "10.0.0.1:http"]).contains("10.0.0.1:80"));
    assert!(refused(&["--side", "left"]).contains("possible values"));
    assert!(refused(&["--event", "lost"]).contains("possible values"));
    assert!(refused(&["--without", "magic"]).contains("possible values"));
    assert!(refused(&["--remote", "example.org"]).contains("10.0.0.0/8"));
    assert!(refused(&["--netns", ".."]).contains("inode number"));
    assert!(refused(&["--pid", "0"]).contains("0"));
    assert!(refused(&["--container", "abc"]).contains("6 digits"));
    assert!(refused(&["--pod", "web-0"]).contains("such as 3f1b2c4d"));
    assert!(refused(&["--unit", "a/b"]).contains("such as nginx.service"));
}

fn report(arguments: &[&str]) -> Result<ReportArgs, clap::Error> {
    let line = ["twtrace", "report"].iter().chain(arguments);
    match Cli::try_parse_from(line)?.into_command()? {
        Command::Report(args) => Ok(args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interval_may_follow_watch() {
    let watch = |arguments: &[&str]| report(arguments).map(|args| args.watch);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(watch(&[]).unwrap(), None);
    assert_eq!(watch(&["--watch"]).unwrap(), seconds(2));
    assert_eq!(watch(&["--watch=5"]).unwrap(), seconds(5));
    assert_eq!(watch(&["--watch=1m", "--by", "pair"]).unwrap(), seconds(60));
    let error = watch(&["--watch=10ms"]).unwrap_err().to_string();
    assert!(error.contains("100ms or more"), "{error}");
}

#[test]
fn forms_of_a_report_exclude_each_other() {
    for line in [
        &["--watch", "--json"][..],
        &["--watch", "--from", "x"],
        &["--watch", "--store", "x"],
        &["--watch", "--diff", "x", "y"],
        &["--watch", "--format", "csv", "--by", "pair"],
        &["--watch", "--details"],
        &["--watch", "--", "true"],
        &["--format", "csv", "--json"],
        &["--format", "csv", "--details"],
        &["--format", "csv", "--diff", "x", "y"],
        &["--wide", "--json"],
    ] {
        let error = report(line).unwrap_err().to_string();
        assert!(error.contains("cannot be used with"), "{line:?}: {error}");
    }
    assert!(refused(&["--wide", "--json"]).contains("cannot be used with"));
    let error = report(&["--format", "tsv"]).unwrap_err().to_string();
    assert!(error.contains("possible values: csv"), "{error}");
}

#[test]
fn a_pid_that_is_not_there_is_named() {
    let args = trace(&["--pid", "4000000000"]).unwrap();
    let error = anyhow::Error::from(args.filter.resolve().unwrap_err());
    assert_eq!(format!("{error:#}"), "--pid: no process has pid 4000000000");
}

/// Each verb with its options.
fn verbs() -> Vec<clap::Command> {
    let mut command = Cli::command();
    command.build();
    command.get_subcommands().cloned().collect()
}

#[test]
fn short_help_is_one_line_for_each_option() {
    for verb in verbs() {
        for arg in verb.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let what = format!("{} {}: {help}", verb.get_name(), arg.get_id());
            assert!(!help.is_empty() && !help.contains('\n'), "{what}");
            // Filters have forms of addresses and names.
            let limit = match arg.get_help_heading() {
                Some("Filters") => 110,
                _ => 67,
            };
            assert!(help.chars().count() <= limit, "{what}");
            assert!(!help.contains(". "), "more than a sentence: {what}");
        }
        let about = verb
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(!about.contains(". ") && about.len() <= 80, "{about}");
    }
}

#[test]
fn options_are_under_the_heading_of_their_group() {
    for verb in verbs() {
        let heading = |id: &str| {
            let mut arguments = verb.get_arguments();
            let found = arguments.find(|arg| arg.get_id() == id)?;
            Some(found.get_help_heading().unwrap_or("Options").to_owned())
        };
        for (id, expected) in [
            ("json", "Output"),
            ("output", "Output"),
            ("html", "Output"),
            ("wide", "Output"),
            ("watch", "Output"),
            ("by", "Tables"),
            ("format", "Tables"),
            ("top", "Tables"),
            ("duration", "Duration"),
            ("command", "Command"),
            ("force", "Recordings"),
            ("from", "Recordings"),
            ("store", "Recordings"),
            ("pid", "Filters"),
            ("max_sockets", "Probing"),
            ("stacks", "Stacks"),
            ("interval", "History"),
            ("verbose", "Options"),
        ] {
            let found = heading(id).unwrap_or(expected.to_owned());
            assert_eq!(found, expected, "{} {id}", verb.get_name());
        }
    }
}

#[test]
fn a_namespace_that_is_not_there_is_named() {
    let args = trace(&["--netns", "1"]).unwrap();
    // Who may not look into all processes can't know.
    if let Err(error) = args.filter.resolve() {
        let error = format!("{:#}", anyhow::Error::from(error));
        assert!(error.contains("inode number 1:"), "{error}");
    }
}
