use clap::{CommandFactory, FromArgMatches};

use super::*;
use crate::cli::{Cli, Command as Verb, ServeArgs};

fn verb() -> Command {
    let mut command = Cli::command();
    command.build();
    command.find_subcommand("serve").unwrap().clone()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn matches(argv: &[OsString]) -> ArgMatches {
    let (_, matches) = Cli::command()
        .try_get_matches_from(argv)
        .unwrap()
        .remove_subcommand()
        .unwrap();
    matches
}

fn extended(flags: &[&str], text: &str) -> Result<ServeArgs, ConfigError> {
    let file = file(text);
    let argv = ["twtrace", "serve"].iter().chain(flags);
    let argv: Vec<OsString> = argv.map(OsString::from).collect();
    let argv = extend(&argv, &matches(&argv), &verb(), file.path())?;
    let used = Cli::command().try_get_matches_from(argv).unwrap();
    match Cli::from_arg_matches(&used).unwrap().command {
        Some(Verb::Serve(args)) => Ok(*args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_has_the_options_names_and_the_command_line_comes_first() {
    let text = "listen = '0.0.0.0:1'\ntop-processes = 7\ncomm = ['a', 'b']\ntimers = false\n";
    let args = extended(&[], text).unwrap();
    assert_eq!(args.listen.to_string(), "0.0.0.0:1");
    assert_eq!((args.top_processes, args.top_destinations), (7, 50));
    assert_eq!(args.filter.comm, ["a", "b"]);
    assert_eq!(args.probing.timers, crate::cli::probing::Switch::Off);

    let args = extended(&["--top-processes=9", "--comm", "c"], text).unwrap();
    assert_eq!((args.top_processes, args.filter.comm.len()), (9, 1));
}

#[test]
fn a_choice_between_two_options_is_one_choice() {
    let args = extended(&["--ring-kb=64"], "ring-mb = 4").unwrap();
    assert_eq!(args.probing.options().ring_bytes, 64 << 10);
}

#[test]
fn what_is_wrong_is_said_in_one_line_that_names_the_file_and_the_key() {
    for (text, says) in [
        ("listen = 'x'", "listen: invalid value 'x'"),
        ("top-processes = 0", "top-processes: invalid value '0'"),
        ("top-processes = 1.5", "top-processes: float"),
        (
            "listen = '[::1]:7'\n# x\ntop_processes = 5",
            "line 3: there is no option \"top_processes\"; did you mean \"top-processes\"?",
        ),
        (
            "[serve]\ncomm = 'x'",
            "line 1: there is no option \"serve\"; there are listen,",
        ),
        ("config = 'x'", "there is no option \"config\""),
        ("[comm]\na = 1", "comm: table"),
        ("comm = [['a']]", "comm: a list within a list"),
        ("\nlisten = \n", "line 2:"),
        ("privileges = 'all'", "privileges: invalid value 'all'"),
        ("top-processes = [1, 2]", "top-processes:"),
    ] {
        let error = extended(&[], text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
        assert!(error.starts_with('/') && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_file_that_is_none_is_refused() {
    let argv: Vec<OsString> = ["twtrace", "serve"].map(OsString::from).into();
    for path in ["/nonexistent/file", "/dev/zero", "/proc"] {
        let error = extend(&argv, &matches(&argv), &verb(), Path::new(path)).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
    let large = file(&"#".repeat(MAX_BYTES as usize + 1));
    let error = extend(&argv, &matches(&argv), &verb(), large.path()).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
}

#[test]
fn what_is_in_force_can_be_a_file_again() {
    let file = file("comm = ['a', 'b\"c']\nhistory-interval = '5s'\n");
    let argv: Vec<OsString> = ["twtrace", "serve", "--listen=[::1]:7"]
        .map(OsString::from)
        .into();
    let given = matches(&argv);
    let used = matches(&extend(&argv, &given, &verb(), file.path()).unwrap());
    let text = in_force(&verb(), &used, &given);
    assert!(
        text.contains("listen = \"[::1]:7\" # command line\n"),
        "{text}"
    );
    assert!(
        text.contains("history-interval = \"5s\" # file\n"),
        "{text}"
    );
    assert!(
        text.contains("top-processes = \"50\" # default\n"),
        "{text}"
    );
    let args = extended(&[], &text).unwrap();
    assert_eq!(args.filter.comm, ["a", "b\"c"]);
}

#[test]
fn a_pipe_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("twtrace.toml");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let error = format!("{:#}", anyhow::Error::from(read(&path).unwrap_err()));
    assert!(
        error.ends_with("twtrace.toml: not a regular file"),
        "{error}"
    );
    std::fs::remove_file(&path).unwrap();
    std::fs::write(directory.path().join("..data"), "comm = \"x\"").unwrap();
    std::os::unix::fs::symlink("..data", &path).unwrap();
    assert!(read(&path).is_ok(), "a ConfigMap has links");
}
